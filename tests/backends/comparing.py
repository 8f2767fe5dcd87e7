"""Compare the texts of a forest with what the server wrote."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forests.core.prefix import prefix_of
from tests.backends.recording import Exchange

Written = Mapping[str, Sequence[tuple[str, Sequence[str]]]]
"""By text of a path that was sent: each answer of the server, with the stop texts."""


def problem_of_paths(
    prompts: Mapping[int, Any],
    nodes: Sequence[Mapping[str, Any]],
    exchanges: Sequence[Exchange],
    final_stops: Sequence[str],
) -> str:
    """Return what is wrong with the first bad path; empty if the server wrote all texts.

    The text of a path must be a chain of answers: an answer begins where the text that was sent
    ended, and the next answer begins where this one ended or was cut. Every character must be the
    same. Two things are allowed: a server that gets a message without the white space at its end
    may write this white space again, and a server may repeat the message that it continues.

    Args:
        prompts: root prompts by tree.
        nodes: rows of an exported forest, parents first.
        exchanges: requests and answers.
        final_stops: stop texts of whole solutions, before which a leaf may end.
    """
    written = {tree: _written(prompt, exchanges) for tree, prompt in prompts.items()}
    ends: dict[tuple[int, str], list[str]] = {}
    inner = {(node["tree"], node["path"].rpartition(".")[0]) for node in nodes}
    for node in nodes:
        tree, path = node["tree"], node["path"]
        before = ends.get((tree, path.rpartition(".")[0]), [""])
        text = before[-1] + node["text"]
        ends[tree, path] = [*before, text]
        rests = list(_rests(text, before, written[tree]))
        if not rests:
            return f"step {path} of tree {tree} is not what the server wrote: {node['text']!r}"
        is_leaf = (tree, path) not in inner and not (node["truncated"] or text.endswith("\n"))
        if is_leaf and not any(_is_end(rest, final_stops) for rest in rests):
            return f"step {path} of tree {tree} lacks what the server wrote after it: {rests[0]!r}"
    return ""


def _written(prompt: Any, exchanges: Sequence[Exchange]) -> Written:
    """Return what the server wrote after each text of a tree that it was sent."""
    found: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for one in exchanges:
        sent: str | None = None
        if isinstance(one.prompt, str):
            if isinstance(prompt, str) and one.prompt.startswith(prompt):
                sent = one.prompt[len(prompt) :]
        elif one.prompt == prefix_of(prompt, "", "chat"):
            sent = one.continued
        if sent is not None:
            found.setdefault(sent, []).extend((text, one.stops) for text in one.written)
    return found


def _rests(text: str, before: Sequence[str], written: Written) -> Iterator[str]:
    """Yield what the server wrote after a text, once for each chain of answers with this text.

    The rest is empty if the server stopped there. `before`: the texts up to the end of each earlier
    step. Answers may have been cut there, and further answers requested.
    """
    seen = set(map(len, before))
    open_places = list(seen)
    while open_places:
        place = open_places.pop()
        for answer, stops in _answers_at(text[:place], written):
            here = text[place:]
            if answer.startswith(here):
                yield answer[len(here) :]
            if not here.startswith(answer):
                continue
            ends = {place + len(answer)}
            ends |= {place + len(answer + one) for one in stops if here.startswith(answer + one)}
            if len(text) in ends:
                yield ""
            new = ends - seen
            seen |= new
            open_places += new


def _answers_at(before: str, written: Written) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the answers after a text: whole, and without what they repeat of the text."""
    for sent in {before, before.rstrip()}:
        lost = before[len(sent) :]
        for answer, stops in written.get(sent, ()):
            for said in {answer, answer.removeprefix(sent)}:
                yield said, stops
                blank = len(said) - len(said.lstrip()) if lost else 0
                for length in range(1, blank + 1):
                    yield said[length:], stops


def _is_end(rest: str, final_stops: Sequence[str]) -> bool:
    return not rest.strip() or any(rest.startswith(stop) for stop in final_stops)
