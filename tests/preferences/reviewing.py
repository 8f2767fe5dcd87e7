"""Helpers for tests of reviews: judge pairs over HTTP, and read the result."""

import io
import re

from django.core.management import call_command
from django.test import Client

from forests.models import Forest
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, PreferenceSet
from preferences.sets.creation import SetParameters, create_preferences

ADDRESS = "/sums-test-first/preferences/"


def made(forest: Forest) -> PreferenceSet:
    parameters = SetParameters(PairingOptions())
    return create_preferences(forest, "mine", parameters, report=lambda _: None)


def review(client: Client, tree: int, number: int, state: str = "accepted", **fields: str):
    address = f"{ADDRESS}mine/{tree}/{number}/review/"
    headers = {"HX-Request": "true"} if fields.pop("htmx", "") else {}
    return client.post(address, {"state": state, **fields}, headers=headers)


def shown(client: Client, query: str = "") -> list[str]:
    html = client.get(ADDRESS + query).content.decode()
    return re.findall(r'<article class="pair" id="pair-([\d-]+)"', html)


def pair_of(preference_set: PreferenceSet, tree: int, number: int) -> Preference:
    return Preference.objects.get(pk=f"{preference_set.id}/{tree:07d}/{number}")


def counts(preference_set: PreferenceSet) -> tuple[int, int, int]:
    """Return how many pairs are accepted, rejected and open."""
    stored = PreferenceSet.objects.get(pk=preference_set.pk)
    return stored.num_accepted, stored.num_rejected, stored.num_open


def remake(forest: Forest, *arguments: str) -> str:
    """Replace the set with the command; return its stderr."""
    err = io.StringIO()
    call_command(
        "create_preferences", "--min_confidence", "0",
        "--forest_name", forest.name, "--set_name", "mine", "--replace",
        *arguments, stdout=io.StringIO(), stderr=err,
    )  # fmt: skip
    return err.getvalue()
