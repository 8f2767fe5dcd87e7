"""Measure the times of pages of a growing forest. Django must be set up."""

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
"""The forest starts with one page of trees of two steps, whatever its final size."""
LARGE = {10_000: (10, 5, 4, 2, 1), 1_000_000: (20, 10, 5, 5, 1)}
"""Branching of the one large tree for each size of the forest: 1,060 and 11,220 steps."""
REQUESTS, SECONDS = 100, 5.0
"""Request each page this many times, or for this many seconds."""


@dataclass(frozen=True)
class Page:
    name: str
    nodes: int
    """Size of the forest, or of the tree."""
    address: str
    part: str = ""
    """The fragment that htmx requests; empty for a whole page."""


@dataclass(frozen=True)
class PageTime:
    page: str
    nodes: int
    least: float
    """Milliseconds; the figure that other work on the machine affects least."""
    median: float
    p95: float
    queries: int
    """Commands to the database, including those for the login."""
    kilobytes: int


@dataclass(frozen=True)
class PageTimes:
    pages: list[PageTime]
    trees: list[PageTime]
    """The pages of trees of several sizes, in the largest forest."""
    loading: dict[int, float]
    """Seconds to fill the forest up to each size, by the number of nodes."""


class Queries(monitoring.CommandListener):
    """Counts commands to the database."""

    number = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.number += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to count."""


def measure_pages(*sizes: int) -> PageTimes:
    """Fill one forest to each number of nodes, and measure all pages at each."""
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
    """Yield trees until a forest has about the wanted number of nodes."""
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
        Page("search", nodes, "/search/?q=benchmark+1"),
        Page("forest", nodes, own),
        Page("forest, progress", nodes, own, part="progress"),
        Page("forest, last page", nodes, f"{own}?page={last}"),
        Page("forest, failed trees", nodes, f"{own}?status=failed"),
        Page("forest, text search", nodes, f"{own}?q=nowhere"),
        Page("forest, steps search", nodes, f"{own}steps/?q=nowhere"),
        Page("tree of 2 steps", nodes, f"{own}trees/0/"),
        Page("step", nodes, f"{own}trees/0/nodes/0.1/"),
        Page("metrics", nodes, f"{own}metrics/"),
        Page("preferences", nodes, f"{own}preferences/"),
    ]


def _time(client: Client, queries: Queries, page: Page) -> PageTime:
    """Return the times of a page, after one request that is not measured."""
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
