"""Ask pages of a growing forest for their times: needs Django to be set up."""

import itertools
import operator
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from pymongo import monitoring

from benchmarks.forest_loading import NODES_PER_TREE, add_trees, empty_forest, simulated_tree
from forests.core.tree import ReasoningTree
from forests.markup.rendering import _rendered
from forests.models import Forest

NAME = "benchmark-test-pages"
SMALL, SMALL_TREES = (2,), 50
"""The forest begins with as many trees of two steps as a page lists, in any forest."""
LARGE = {10_000: (10, 5, 4, 2, 1), 1_000_000: (20, 10, 5, 5, 1)}
"""Shape of the one large tree that comes with each size of the forest: 1,060 and 11,220 steps."""
REQUESTS, SECONDS = 100, 5.0
"""A page is asked for so often, or for so long."""


@dataclass(frozen=True)
class Page:
    name: str
    nodes: int
    """Of the forest, or of the tree."""
    address: str
    part: str = ""
    """What htmx asks for; empty where a browser asks for all."""


@dataclass(frozen=True)
class PageTime:
    page: str
    nodes: int
    least: float
    """Milliseconds; other work on the machine matters least to it."""
    median: float
    p95: float
    queries: int
    """Commands to the database, login included."""
    kilobytes: int


@dataclass(frozen=True)
class PageTimes:
    pages: list[PageTime]
    trees: list[PageTime]
    """The pages of trees of several sizes, in the largest forest."""
    loading: dict[int, float]
    """Seconds in which the forest came to its sizes."""


class Queries(monitoring.CommandListener):
    """Counts what is asked of the database."""

    number = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.number += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to count."""


def measure_pages(*sizes: int) -> PageTimes:
    """Grow one forest to these numbers of nodes, and ask for all pages at each."""
    queries = Queries()
    monitoring.register(queries)
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("reader"))
    forest, times = empty_forest(NAME), []
    trees: list[Page] = []
    loading: dict[int, float] = {}
    for size in sizes:
        if size in LARGE:
            steps = sum(itertools.accumulate(LARGE[size], operator.mul))
            trees.append(Page("tree", steps, f"/{NAME}/trees/{forest.num_trees}/"))
        began = time.perf_counter()
        forest = add_trees(forest, _trees_up_to(size, forest.num_nodes))
        loading[size] = round(time.perf_counter() - began, 1)
        print(f"{forest.num_nodes} nodes in {loading[size]} s …", file=sys.stderr)
        if size == sizes[0]:
            for command in ("beam_search", "create_preferences"):
                call_command(command, "--forest_name", NAME, stdout=StringIO(), stderr=StringIO())
        times += [_time(client, queries, page) for page in _pages(forest)]
    trees.append(Page("tree", NODES_PER_TREE, f"/{NAME}/trees/{forest.num_trees - 1}/"))
    tree_times = [_time(client, queries, page) for page in sorted(trees, key=lambda one: one.nodes)]
    return PageTimes(pages=times, trees=tree_times, loading=loading)


def _trees_up_to(num_nodes: int, there: int) -> Iterator[ReasoningTree]:
    """Yield trees until a forest that has so many nodes has about as many as asked."""
    if not there:
        yield from (simulated_tree(random.Random(seed), SMALL) for seed in range(SMALL_TREES))
        return
    large = simulated_tree(random.Random(num_nodes), LARGE[num_nodes])
    yield large
    for seed in range((num_nodes - there - len(large)) // NODES_PER_TREE):
        yield simulated_tree(random.Random(seed))


def _pages(forest: Forest) -> list[Page]:
    own, nodes = f"/{forest.name}/", forest.num_nodes
    last = -(-forest.num_trees // SMALL_TREES)
    return [
        Page("forests", nodes, "/"),
        Page("forest", nodes, own),
        Page("forest, progress", nodes, own, part="progress"),
        Page("forest, last page", nodes, f"{own}?page={last}"),
        Page("forest, failed trees", nodes, f"{own}?status=failed"),
        Page("forest, text search", nodes, f"{own}?q=nowhere"),
        Page("tree of 2 steps", nodes, f"{own}trees/0/"),
        Page("step", nodes, f"{own}trees/0/nodes/0.1/"),
        Page("metrics", nodes, f"{own}metrics/"),
        Page("preferences", nodes, f"{own}preferences/"),
    ]


def _time(client: Client, queries: Queries, page: Page) -> PageTime:
    """Return how long a page takes, after it was asked for once."""
    headers = {"HX-Request": "true", "HX-Target": page.part} if page.part else {}
    response = client.get(page.address, headers=headers)
    if response.status_code != 200:
        raise RuntimeError(f"{page.address} answered {response.status_code}")
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    before = queries.number
    while len(times) < REQUESTS and (time.perf_counter() < end or not times):
        _rendered.cache_clear()
        began = time.perf_counter()
        client.get(page.address, headers=headers)
        times.append(1000 * (time.perf_counter() - began))
    return PageTime(
        page=page.name,
        nodes=page.nodes,
        least=round(min(times), 2),
        median=round(statistics.median(times), 2),
        p95=round(sorted(times)[int(0.95 * (len(times) - 1))], 2),
        queries=(queries.number - before) // len(times),
        kilobytes=len(response.content) // 1000,
    )
