"""`{% program %}`: the beginning of command lines. The settings load it for every template."""

from django import template

from common.places import PROGRAM

register = template.Library()


@register.simple_tag
def program() -> str:
    return PROGRAM
