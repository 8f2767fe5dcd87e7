"""How amounts of money are written."""

from math import floor, log10

NOT_KNOWN = "price not known"
_FEWEST_DIGITS, _SIGNIFICANT_DIGITS = 4, 2


def format_money(amount: float | None, currency: str) -> str:
    """Return "$1,234.50", "$0.0123" or "$0.000012"; words where the amount is not known."""
    if amount is None:
        return NOT_KNOWN
    if amount == 0 or amount >= 1:
        return f"{currency}{amount:,.2f}"
    digits = _SIGNIFICANT_DIGITS - 1 - floor(log10(amount))
    return f"{currency}{amount:.{max(_FEWEST_DIGITS, digits)}f}"
