"""Make text from code, data and servers safe to show, print and log."""

# Show control characters as symbols: browsers and XML drop or refuse them, terminals obey them.
_VISIBLE: dict[int, int] = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"},
    127: 0x2421,
    **dict.fromkeys(range(128, 160), 0xFFFD),
}


def printable(text: object) -> str:
    """Return a text safe to encode and to draw: no lone surrogates, no control characters."""
    whole = str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.translate(_VISIBLE)


def one_line(text: str, longest: int = 300) -> str:
    return printable(" ".join(text.split())[:longest])


def describe(error: BaseException) -> str:
    """Return the kind and the message of an error in one line."""
    try:
        message = str(error)
    except Exception as another:  # noqa: BLE001  it is code that is not ours
        message = f"its message cannot be read ({type(another).__name__})"
    return f"{type(error).__name__}: {one_line(message)}"


def as_percent(share: float | None) -> str:
    """Return "41.7 %", or a dash for no result."""
    return "-" if share is None else f"{100 * share:.1f} %"


def counted(number: int, noun: str) -> str:
    """Return "1 tree", "2 trees": a noun whose plural ends with s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
