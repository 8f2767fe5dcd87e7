"""The states of forests that pages, commands and metrics show."""

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.core.management.base import OutputWrapper
from django.test import Client
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families

from forests.models import Forest
from rollouts.workers.watching import watch_growth
from tests.forests.addresses import text_of

BADGE = r'<span class="badge state-[a-z-]+">([^<]+)</span>'


def told_states(client: Client, forests: Sequence[Forest]) -> Mapping[str, Mapping[str, set[str]]]:
    """Return the states that each place shows for each forest; a correct place shows one.

    `client`: logged in as somebody who may see the admin.
    """
    told: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    everywhere = {
        "list": _in_list(client),
        "admin": _in_admin(client),
        "metrics": _in_metrics(client),
    }
    for forest in forests:
        for place, found in everywhere.items():
            told[forest.name][place] = found[forest.name]
        page = text_of(client, forest.get_absolute_url())
        told[forest.name]["forest"] = set(re.findall(BADGE, page))
        if forest.num_trees:
            page = text_of(client, reverse("tree", args=[forest.name, 0]))
            told[forest.name]["tree"] = set(re.findall(BADGE, page))
        told[forest.name]["watcher"] = {_to_watcher(forest)}
    return told


def _in_list(client: Client) -> Mapping[str, set[str]]:
    rows = text_of(client, "/").split("<tr>")[2:]
    return _by_forest(
        (name, state)
        for row in rows
        for name in re.findall(r'<th scope="row"><a[^>]*><bdi>([^<]+)</bdi></a>', row)
        for state in re.findall(BADGE, row)
    )


def _in_admin(client: Client) -> Mapping[str, set[str]]:
    rows = text_of(client, "/admin/forests/forest/").split("<tr")[1:]
    return _by_forest(
        (name, state.partition(":")[0])
        for row in rows
        for name in re.findall(r'<th class="field-name"><a[^>]*>([^<]+)</a>', row)
        for state in re.findall(r'<td class="field-state">([^<]+)</td>', row)
    )


def _in_metrics(client: Client) -> Mapping[str, set[str]]:
    return _by_forest(
        (sample.labels["forest"], sample.labels["state"])
        for family in text_string_to_metric_families(text_of(client, "/metrics"))
        for sample in family.samples
        if sample.name == "prm_forest_state" and sample.value == 1
    )


def _to_watcher(forest: Forest) -> str:
    """Return the state in the line that `populate_forest --watch` and `rollout_worker` print."""
    log = io.StringIO()
    summary = watch_growth(forest.name, OutputWrapper(log), goes_on=lambda _: False)
    assert f"trees, {summary.state}" in log.getvalue()
    return summary.state


def _by_forest(found: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    states: defaultdict[str, set[str]] = defaultdict(set)
    for name, state in found:
        states[name].add(state)
    return states
