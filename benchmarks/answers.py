"""Count false positives of the answer comparison: different labels that it calls the same."""

import argparse
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

from experiment_configs.answers import NotComparedError, is_same_answer
from experiment_configs.loading import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--config_name", help="config whose labels are compared")
    source.add_argument("--labels", type=Path, metavar="FILE", help="file with one label a line")
    parser.add_argument("--dataset_split", default="test", help="split of the config's dataset")
    parser.add_argument("--limit", type=int, help="use only the first LIMIT labels")
    options = parser.parse_args()
    if options.labels:
        labels: Iterable[str] = options.labels.read_text(encoding="utf-8").splitlines()
    else:
        labels = _labels_of(options.config_name, options.dataset_split)
    different = list(dict.fromkeys(label.strip() for label in labels))[: options.limit]
    counts = {True: 0, False: 0, None: 0}
    for first, second in combinations(different, 2):
        verdict = _verdict(first, second)
        counts[verdict] += 1
        if verdict is not False:
            print(f"{'the same' if verdict else 'no result'}: {first!r} and {second!r}")
    print(
        f"{len(different)} different labels: {counts[True]} of {sum(counts.values())} pairs are "
        f"called the same, {counts[None]} have no result"
    )


def _labels_of(config_name: str, split: str) -> Iterator[str]:
    config = load_config(config_name).config
    return (config.get_label(item) for item in config.get_dataset_iterator(split))


def _verdict(first: str, second: str) -> bool | None:
    try:
        return is_same_answer(first, second)
    except NotComparedError:
        return None


if __name__ == "__main__":
    main()
