"""One line about what went wrong in code or on servers that are not ours."""


def one_line(text: str, longest: int = 300) -> str:
    return " ".join(text.split())[:longest]


def describe(error: BaseException) -> str:
    """Return the kind and the message of an error in one line."""
    try:
        message = str(error)
    except Exception as another:  # noqa: BLE001  it is code that is not ours
        message = f"its message cannot be had ({type(another).__name__})"
    return f"{type(error).__name__}: {one_line(message)}"
