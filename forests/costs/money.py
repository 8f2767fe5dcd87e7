"""Amounts in the site's currency, formatted the same on pages, in commands and in messages."""

from django.conf import settings

from forests.costs.amounts import format_money


def money(amount: float | None) -> str:
    """Return an amount with the currency of PRM_CURRENCY; words if the amount is not known."""
    return format_money(amount, settings.CURRENCY)
