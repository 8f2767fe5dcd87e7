"""The problems that the benchmark of real backends finds in a forest."""

from typing import Any

import httpx
import pytest

from tests.backends.comparing import problem_of_paths
from tests.backends.growing import problem_of_steps
from tests.backends.recording import Exchange, Recorder
from tests.backends.report import Report, keep, kept
from tests.dialect_server import DialectServer, refusal


def step(path: str, text: str = "We add.", **fields: Any) -> dict[str, Any]:
    """Return the row of a step in an exported forest."""
    told = {"terminal": False, "truncated": False, "finish_reason": "stop", "is_thought": False}
    return {"tree": 0, "path": path, "text": text, **told, **fields}


def test_whole_solutions_have_no_problem():
    assert not problem_of_steps([step("0.0"), step("0.0.0", "#### 3")], thinks=False)
    cut = step("0.0", truncated=True, finish_reason="length")
    assert not problem_of_steps([cut], thinks=False)
    assert not problem_of_steps([step("0.0.1", "", terminal=True)], thinks=False)
    thought = step("0.0", "Hm.", is_thought=True)
    assert not problem_of_steps([thought, step("0.0.0")], thinks=True)


@pytest.mark.parametrize(
    ("steps", "thinks", "problem"),
    [
        ([step("0.0", " \n")], False, "is blank"),
        ([step("0.0", truncated=True)], False, "is cut, and its reason is 'stop'"),
        ([step("0.0")], True, "is no thought"),
        ([step("0.0", is_thought=True), step("0.0.1", is_thought=True)], True, "is a thought"),
        ([step("0.0", "Hm.</think> 3")], False, "holds the mark of a thought"),
    ],
)
def test_what_a_server_or_the_client_did_wrong_is_named(steps, thinks, problem):
    assert problem in problem_of_steps(steps, thinks=thinks)


NO_STOPS: tuple[str, ...] = ()


def over_completions(*exchanges: tuple[str, list[str]]) -> list[Exchange]:
    """Return exchanges after the prompt "Q:": the part of a path that was sent, and the answers."""
    return [Exchange(f"Q:{sent}", "", ["\n"], came) for sent, came in exchanges]


def over_chat(*exchanges: tuple[str, list[str]]) -> list[Exchange]:
    messages = [{"role": "user", "content": "Q:"}]
    return [Exchange(messages, sent, NO_STOPS, came) for sent, came in exchanges]


@pytest.mark.parametrize(
    ("texts", "exchanges"),
    [
        pytest.param(
            [" We add.\n", "#### 3"],
            over_completions(("", [" We try.", " We add."]), (" We add.\n", ["#### 3"])),
            id="the server cut a stop text, which is kept",
        ),
        pytest.param(
            [" We add.\n", "#### 3"],
            over_completions(("", [" We"]), (" We", [" add.\n#### 3\nQuestion: more"])),
            id="a step came in two pieces, and a text is cut in the client",
        ),
        pytest.param(
            ["We add.\n", "#### 3"],
            over_chat(("", ["We add.\nWe"]), ("We add.", ["\n#### 3"])),
            id="the server wrote the line break again that it did not get",
        ),
        pytest.param(
            ["We add.\n", "#### 3"],
            over_chat(("", ["We add.\nWe"]), ("We add.", ["We add.\n#### 3"])),
            id="the server repeated the message",
        ),
    ],
)
def test_texts_that_the_server_wrote_have_no_problem(texts, exchanges):
    nodes = [step("0", ""), step("0.0", texts[0]), step("0.0.0", texts[1])]
    assert not problem_of_paths({0: "Q:"}, nodes, exchanges, ["\nQuestion:"])


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ([" We add.\n", "#### 4"], "step 0.0.0 of tree 0 is not what the server wrote"),
        ([" We add. \n", "#### 3 "], "step 0.0 of tree 0 is not what the server wrote"),
        ([" We add.\n", "\n#### 3 "], "step 0.0.0 of tree 0 is not what the server wrote"),
        ([" We add.\n", " #### 3"], "step 0.0.0 of tree 0 is not what the server wrote"),
        ([" We add.\n", "#### "], "step 0.0.0 of tree 0 lacks what the server wrote after it: '3'"),
    ],
)
def test_a_text_that_the_server_did_not_write_is_named(texts, problem):
    exchanges = over_completions(("", [" We add."]), (" We add.\n", ["#### 3"]))
    nodes = [step("0", ""), step("0.0", texts[0]), step("0.0.0", texts[1])]
    assert problem in problem_of_paths({0: "Q:"}, nodes, exchanges, NO_STOPS)


def test_what_was_written_for_another_tree_does_not_count():
    nodes = [step("0", ""), step("0.0", "#### 3")]
    exchanges = over_chat(("", ["#### 3"]))
    assert not problem_of_paths({0: "Q:"}, nodes, exchanges, NO_STOPS)
    assert "is not what" in problem_of_paths({0: "R:"}, nodes, exchanges, NO_STOPS)


def test_the_recorder_passes_requests_on_and_keeps_what_was_written():
    messages = [{"role": "user", "content": "Q:"}, {"role": "assistant", "content": "We"}]
    with DialectServer(write=lambda *_: "<think>Hm.</think> add.") as server:
        server.thoughts = "reasoning"
        with Recorder(server.url) as recorder:
            chat = {"model": "scripted", "messages": messages[:1], "n": 2}
            answer = httpx.post(f"{recorder.url}/chat/completions", json=chat, timeout=60)
            server.judge = lambda _: refusal(400, "too long")
            refused = httpx.post(f"{recorder.url}/chat/completions", json=chat, timeout=60)
            listed = httpx.get(f"{recorder.url}/models", timeout=60)
        assert answer.json()["choices"][1]["message"]["reasoning"] == "Hm."
        assert (refused.status_code, refused.json()["error"]["message"]) == (400, "too long")
        assert listed.json()["data"][0]["id"] == "scripted"
        (exchange,) = recorder.exchanges
    assert (exchange.prompt, exchange.continued) == (messages[:1], "")
    assert exchange.written == ["Hm. add.", "Hm. add."]
    continued = Exchange.of({"messages": messages}, {"choices": [{"message": {"content": None}}]})
    assert (continued.prompt, continued.continued, continued.written) == (messages[:1], "We", [""])


def test_a_report_is_kept_for_a_run_of_the_same_packages(tmp_path):
    path = tmp_path / "results" / "vllm.json"
    report = Report(
        "vLLM",
        behaviour={"completions": {}, "chat": {}},
        refused={"chat": "it begins a new message"},
        problems={"trimming": "it does not start"},
    )
    keep(report, path, "packages")
    again = kept(path, "packages")
    assert again
    assert again.has("chat")
    assert not again.has("completions")
    assert not again.problems, "what failed is tried again"
    again.forget(["chat"], ["completions"])
    assert not again.has("chat")
    assert list(again.behaviour) == ["chat"]
    assert kept(path, "other packages") is None
    path.write_text("{")
    assert kept(path, "packages") is None
