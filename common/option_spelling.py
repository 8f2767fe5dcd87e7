"""Options that may be written with `-` or `_` between their words."""

from collections.abc import Iterable, Sequence


def as_declared(arguments: Sequence[str], options: Iterable[str]) -> list[str]:
    """Return arguments in which each option is spelled as it was declared.

    An abbreviation is completed if only one option starts with it. Unknown options stay unchanged.
    """
    declared = {_key(option): option for option in options if option.startswith("--")}
    spelled: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":  # no options after it
            return [*spelled, *arguments[number:]]
        name, separator, value = argument.partition("=")
        if name.startswith("--"):
            name = _declared(name, declared)
        spelled.append(f"{name}{separator}{value}")
    return spelled


def _declared(name: str, declared: dict[str, str]) -> str:
    key = _key(name)
    if key in declared:
        return declared[key]
    found = {option for other, option in declared.items() if other.startswith(key)}
    return found.pop() if len(found) == 1 else name


def _key(name: str) -> str:
    return name.replace("-", "_")
