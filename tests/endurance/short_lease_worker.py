"""A worker process with short leases, so that hundreds run out in a few minutes.

On SIGUSR1 it prints what its threads do.

usage: python -m tests.endurance.short_lease_worker FOREST SHARE NUM_SHARES
"""

import faulthandler
import os
import signal
import sys

import django

django.setup()

# These imports need the models.
from rollouts.growing import grower as growth  # noqa: E402
from rollouts.growing import leases  # noqa: E402
from rollouts.growing import recorder as recording  # noqa: E402
from rollouts.workers import child_worker  # noqa: E402
from tests.endurance.holding_proxy import LEASE_SECONDS  # noqa: E402

NUM_REQUESTS = 6


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    leases.LEASE_SECONDS = recording.LEASE_SECONDS = LEASE_SECONDS
    leases.RENEWAL_SECONDS = LEASE_SECONDS / 4
    recording.SECONDS_BETWEEN_WRITES = 0.05
    growth.SECONDS_BETWEEN_LOOKS_AT_BUSY_TREES = 0.2
    forest_name, share, num_shares = sys.argv[1], *map(int, sys.argv[2:])
    child_worker.grow_forest(
        forest_name,
        share=share,
        num_shares=num_shares,
        num_requests=NUM_REQUESTS,
        parent=os.getppid(),
    )


if __name__ == "__main__":
    main()
