"""Amounts in the site's currency: pages, commands and messages write them all this way."""

from django.conf import settings

from forests.costs.amounts import format_money


def money(amount: float | None) -> str:
    """Return an amount with the currency of PRM_CURRENCY; words where it is not known."""
    return format_money(amount, settings.CURRENCY)
