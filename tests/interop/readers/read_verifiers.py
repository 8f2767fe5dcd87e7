"""Read traces with the classes of verifiers, and check each branch as prime-rl reads it.

usage: python read_verifiers.py traces DIRECTORY CONTAINER
"""

import json
import sys
from pathlib import Path

from verifiers.v1.trace import WireTrace


def main() -> None:
    _, directory, container = sys.argv[1:]
    found = []
    rows = Path(directory, container, f"train.{container}").read_text(encoding="utf-8")
    for line in rows.splitlines():
        trace = WireTrace.model_validate(json.loads(line))
        for branch in trace.branches:
            assert branch.trainable
            sizes = {len(branch.token_ids), len(branch.sampled_mask), len(branch.logprobs)}
            assert sizes == {len(branch.advantages or branch.token_ids)}
            found.append([branch.token_ids, branch.sampled_mask, branch.logprobs])
        assert not trace.has_error
    print(json.dumps({"read": found}))


if __name__ == "__main__":
    main()
