"""Read traces with the classes of verifiers, and print what they hold as JSON."""

import json
import sys
from pathlib import Path

from verifiers.v1.trace import WireTrace  # type: ignore[import-not-found]


def main() -> None:
    """Check each branch as prime-rl reads it."""
    found = []
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        trace = WireTrace.model_validate(json.loads(line))
        for branch in trace.branches:
            assert branch.trainable
            sizes = {len(branch.token_ids), len(branch.sampled_mask), len(branch.logprobs)}
            assert sizes == {len(branch.advantages or branch.token_ids)}
            found.append({"reward": trace.reward, "ids": branch.token_ids})
        assert not trace.has_error
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
