"""Limits, prices and estimates as a user gives them on the command line."""

import io
import json
import re

import pytest
from django.core.management import CommandError, call_command

from forests.costs.budgets import Prices
from forests.models import Forest
from rollouts.workers import jobs
from tests.openai_server import Fault, OpenAIServer
from tests.rollouts.forests import reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)


def run(name: str, *arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def populate(forest: Forest, *arguments: str) -> Forest:
    run("populate_forest", "--forest_name", forest.name, *arguments)
    return reread(forest)


def test_limits_stay_until_an_option_replaces_or_lifts_them(queue, model_server: OpenAIServer):
    forest = seeded(2)

    set_first = populate(forest, "--max_requests", "500", "--max_tokens_total", "9000")
    assert (set_first.max_requests, set_first.max_tokens_total) == (500, 9000)
    kept = populate(forest)
    assert (kept.max_requests, kept.max_tokens_total) == (500, 9000)
    replaced = populate(forest, "--max_requests", "600")
    assert (replaced.max_requests, replaced.max_tokens_total) == (600, 9000)
    one_left = populate(forest, "--no_limit", "--max_requests", "700")
    assert (one_left.max_requests, one_left.max_tokens_total) == (700, None)
    assert not populate(forest, "--no_limit").limits.are_set


def test_a_spent_limit_is_told_before_anything_starts(queue, model_server: OpenAIServer):
    forest = seeded(2)
    populate(forest, "--max_requests", "3")
    jobs.grow_slice(forest.name, 0, 2)

    with pytest.raises(CommandError, match=r"^3 of 3 requests are spent: raise .* --no_limit$"):
        populate(forest)

    assert reread(forest).larger_limit == "--max_requests 6"
    populate(forest, "--max_requests", "6")


def test_prices_come_from_options_then_the_forest_then_the_settings(
    queue, model_server: OpenAIServer, settings
):
    forest = seeded(2)
    assert populate(forest).prices == Prices()

    settings.PRICES = {"scripted": Prices(1.0, 2.0), "another": Prices(5.0, 5.0)}
    assert populate(forest).prices == Prices(1.0, 2.0)
    assert populate(forest, "--price_in", "0").prices == Prices(0.0, 2.0)
    settings.PRICES = {"scripted": Prices(3.0, 3.0)}
    assert populate(forest).prices == Prices(0.0, 2.0)


@pytest.mark.parametrize("given", [(), ("--price_in", "1"), ("--price_out", "1")])
def test_money_is_not_limited_while_its_price_is_not_known(
    queue, model_server: OpenAIServer, given: tuple[str, ...]
):
    forest = seeded(2)

    with pytest.raises(CommandError, match="price of 'scripted' is not known") as refusal:
        populate(forest, "--max_cost", "5", *given)

    assert "PRM_PRICES" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not reread(forest).limits.are_set
    assert queue.count == 0


@pytest.mark.parametrize(
    "wrong", ["--max_cost=0", "--max_cost=-1", "--max_cost=nan", "--max_cost=many",
              "--price_in=-1", "--price_in=inf", "--price_out=", "--max_requests=0"],
)  # fmt: skip
def test_what_is_no_amount_is_refused(model_server: OpenAIServer, wrong: str):
    forest = seeded(1)
    with pytest.raises(CommandError):
        populate(forest, wrong)
    assert not reread(forest).limits.are_set


def test_the_summary_tells_requests_both_kinds_of_tokens_and_money(
    queue, model_server: OpenAIServer
):
    forest = seeded(2)
    populate(forest, "--price_in", "1", "--price_out", "1000")
    jobs.grow_slice(forest.name, 0, 2)

    out, err = run("populate_forest", "--forest_name", forest.name, "--watch", "--json")

    told, grown = json.loads(out), reread(forest)
    assert told["requests"] == model_server.num_asked
    assert told["cost"] == pytest.approx(
        (told["prompt_tokens"] + 1000 * told["completion_tokens"]) / 1e6
    )
    assert (told["prompt_tokens"], told["completion_tokens"]) == (
        grown.prompt_tokens, grown.completion_tokens,
    )  # fmt: skip
    assert re.search(r"requests, [\d,]+ prompt and [\d,]+ completion tokens, \$0\.\d+", err)


ESTIMATE = ("verify_config", "--config_name", "demo_arithmetic", "--dataset_split", "test")


def test_an_estimate_says_what_so_many_items_need_and_what_it_took(model_server: OpenAIServer):
    out, _ = run(
        *ESTIMATE, "--with_backend", "--estimate", "1000", "--json",
        "--price_in", "1", "--price_out", "10",
    )  # fmt: skip

    found = json.loads(out)
    told = found["estimate"]
    assert (told["num_items"], told["num_trees"], told["concurrency"]) == (1000, 5, 8)
    for name in ("requests", "prompt_tokens", "completion_tokens", "seconds", "cost"):
        assert 0 <= told[name]["low"] <= told[name]["value"] <= told[name]["high"]
    assert told["cost"]["value"] == pytest.approx(
        (told["prompt_tokens"]["value"] + 10 * told["completion_tokens"]["value"]) / 1e6
    )
    (check,) = [one for one in found["checks"] if one["name"] == "estimate"]
    assert check["is_ok"]
    used = re.search(r"The trees took ([\d,]+) requests", check["detail"])
    assert used
    of_the_check_before = 3  # a whole solution, a first and a second step
    assert len(model_server.requests) - int(used[1]) == of_the_check_before
    assert told["requests"]["value"] == pytest.approx(1000 * int(used[1]) / 5)
    assert Forest.objects.count() == 0


def test_an_estimate_comes_close_to_what_a_forest_then_needs(model_server: OpenAIServer):
    out, _ = run(*ESTIMATE, "--with_backend", "--estimate", "40", "--json")
    told = json.loads(out)["estimate"]
    forest = seeded(40, branching=[4, 2, 1])

    jobs.grow_slice(forest.name, 0, 40)

    grown = reread(forest)
    assert told["requests"]["low"] <= grown.requests <= told["requests"]["high"]
    assert told["completion_tokens"]["value"] == pytest.approx(grown.completion_tokens, rel=0.3)
    assert told["cost"] is None


def test_an_estimate_without_a_price_says_so(model_server: OpenAIServer):
    out, _ = run(*ESTIMATE, "--with_backend", "--estimate", "10")

    (line,) = [one for one in out.splitlines() if " estimate: " in one]
    assert "cost price not known" in line
    assert "$" not in line


def test_an_estimate_needs_the_server():
    with pytest.raises(CommandError, match="add --with_backend"):
        run(*ESTIMATE, "--estimate", "10")


def test_a_server_that_fails_in_the_middle_of_an_estimate_is_a_check_that_failed(
    model_server: OpenAIServer,
):
    def fail_later() -> Fault | None:
        late = len(model_server.requests) > 6
        return Fault(status=400, body='{"error": {"message": "no more"}}') if late else None

    model_server.misbehave = fail_later
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 checks failed"):
        call_command(*ESTIMATE, "--with_backend", "--estimate", "10", stdout=out)
    (line,) = [one for one in out.getvalue().splitlines() if " estimate: " in one]
    assert "no more" in line
