"""Convert AgentProcessBench (2603.14465) into files for `import_trees` and `import_scores`.

    python -m benchmarks.agent_process_bench CHECKOUT hotpotqa OUTPUT

CHECKOUT is a copy of github.com/RUCBM/AgentProcessBench. Writes `trees.jsonl`, `people.jsonl` (the
human labels) and a file for each published run of a judge: `docs/judges.md` says how to use them. A
tree is a trajectory: the messages before the first one of the assistant are the prompt, and each
later message is a step. Only the assistant's steps have labels. Labels are -1, 0 and 1, so
`import_scores` needs `--scale signed`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

LABELS = (-1, 0, 1)
MAX_RATIONALE = 4_000
MAX_TEXT = 900_000

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Write the files and print a line for each."""
    parser = argparse.ArgumentParser(description="Convert AgentProcessBench for import_scores.")
    parser.add_argument("checkout", type=Path, help="copy of RUCBM/AgentProcessBench")
    parser.add_argument("dataset", help="bfcl, gaia_dev, hotpotqa or tau2")
    parser.add_argument("output", type=Path, help="directory to write to")
    given = parser.parse_args(arguments)
    reference = given.checkout / "data" / "AgentProcessBench" / f"{given.dataset}.jsonl"
    if not reference.is_file():
        print(f"{reference} is missing: give a whole copy of the repository", file=sys.stderr)
        return 1
    trajectories = list(read(reference))
    given.output.mkdir(parents=True, exist_ok=True)
    write(given.output / "trees.jsonl", map(tree_of, trajectories))
    write(given.output / "people.jsonl", label_rows(trajectories, trajectories))
    for run in sorted((given.checkout / "eval" / "results").glob(f"*/{given.dataset}__*.jsonl")):
        name = re.sub(r"[^a-z0-9]+", "-", run.parent.name.lower()).strip("-")
        write(given.output / f"{name}.jsonl", label_rows(trajectories, latest(read(run))))
    return 0


def tree_of(trajectory: Mapping[str, Any]) -> Row:
    """Return a trajectory in the format `jsonl` of `import_trees`: a tree with one path."""
    messages, first = trajectory["messages"], first_step(trajectory)
    node: Row | None = None
    for message in reversed(messages[first:]):
        children = [node] if node else []
        is_last = {} if node else {"correct": trajectory.get("final_label") == 1}
        node = {"text": text_of(message), "children": children, **is_last}
    return {
        "prompt": [
            {"role": message["role"], "content": text_of(message)} for message in messages[:first]
        ],
        "question": trajectory.get("question") or text_of(messages[first - 1]),
        "label": json.dumps(trajectory.get("ground_truth"), ensure_ascii=False),
        "children": [node] if node else [],
    }


def first_step(trajectory: Mapping[str, Any]) -> int:
    """Return the number of the first message of the assistant."""
    roles = [message["role"] for message in trajectory["messages"]]
    return roles.index("assistant")


def text_of(message: Mapping[str, Any]) -> str:
    """Return what a message says, and the tools that it calls."""
    content = message.get("content") or ""
    said = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    written = (json.dumps(call, ensure_ascii=False) for call in calls)
    text = "\n".join(filter(None, (said, *written)))
    return (text if text.strip() else f"(an empty message of {message['role']})")[:MAX_TEXT] + "\n"


def label_rows(
    trajectories: Iterable[Mapping[str, Any]], judged: Iterable[Mapping[str, Any]]
) -> Iterator[Row]:
    """Yield the rows of `import_scores` for labels by the number of the message.

    Another label than -1, 0 or 1 becomes the score None. As in the benchmark's own evaluation, it
    equals no reference label and is not an error. Steps that a trajectory does not have are left
    out.
    """
    by_key = {key_of(one): one for one in judged}
    for tree, trajectory in enumerate(trajectories):
        found = by_key.get(key_of(trajectory), {})
        first, end = first_step(trajectory), len(trajectory["messages"])
        reasons = (found.get("explanations") or {}).get("steps") or {}
        for number, label in labels_of(found.get("step_labels")).items():
            if first <= number < end:
                reason = str(reasons.get(str(number)) or "")[:MAX_RATIONALE]
                yield {"tree": tree, "step": number - first, "score": label} | (
                    {"rationale": reason} if reason else {}
                )


def labels_of(value: Any) -> dict[int, int | None]:
    """Return labels by the number of the message; None for a value that is not a label."""
    pairs = enumerate(value) if isinstance(value, list) else (value or {}).items()
    return {
        int(number): label_of(label) for number, label in pairs if re.fullmatch(r"\d+", str(number))
    }


def label_of(value: Any) -> int | None:
    """Return a label; some runs wrote it as a text or a decimal. None if it is not a label."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number in LABELS else None


def key_of(row: Mapping[str, Any]) -> tuple[int, int]:
    return int(row["query_index"]), int(row["sample_index"])


def latest(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the last judgement of each trajectory: runs were continued in the same file."""
    found: dict[tuple[int, int], Mapping[str, Any]] = {}
    for row in rows:
        before = found.get(key_of(row))
        if before is None or str(row.get("updated_at", "")) >= str(before.get("updated_at", "")):
            found[key_of(row)] = row
    return list(found.values())


def read(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def write(file: Path, rows: Iterable[Row]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
    print(f"{file}: {len(lines)} lines")


if __name__ == "__main__":
    sys.exit(main())
