"""Entry point of the worker processes of `rollout_worker`: `python -m rollouts`."""

import gc

gc.disable()  # until everything is loaded: collecting would take a sixth of the starting time

import django  # noqa: E402

django.setup()

from rollouts.workers.child_worker import main  # noqa: E402  after setup, because it imports models

if __name__ == "__main__":
    gc.enable()
    main()
