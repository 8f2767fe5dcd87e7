"""Format amounts of money."""

from math import ceil, floor, log10

NOT_KNOWN = "price not known"
_FEWEST_DIGITS, _SIGNIFICANT_DIGITS = 4, 2


def format_money(amount: float | None, currency: str) -> str:
    """Return "$1,234.50", "$0.0123" or "$0.000012"; words if the amount is not known."""
    if amount is None:
        return NOT_KNOWN
    if amount == 0 or amount >= 1:
        return f"{currency}{amount:,.2f}"
    digits = _SIGNIFICANT_DIGITS - 1 - floor(log10(amount))
    whole, _, parts = f"{amount:.{max(_FEWEST_DIGITS, digits)}f}".partition(".")
    return f"{currency}{whole}.{parts.rstrip('0').ljust(2, '0')}"


def rounded_up(amount: float) -> str:
    """Return an amount rounded up to two significant digits, ready to type: "0.0013", "2500"."""
    if amount <= 0:
        return "1"
    digits = _SIGNIFICANT_DIGITS - 1 - floor(log10(amount))
    return f"{ceil(amount * 10.0**digits) / 10.0**digits:.{max(0, digits)}f}"
