"""`{% program %}`: how command lines begin; every template knows it (settings)."""

from django import template

from common.places import PROGRAM

register = template.Library()


@register.simple_tag
def program() -> str:
    return PROGRAM
