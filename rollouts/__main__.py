"""Entry point of the worker processes of `rollout_worker`: `python -m rollouts`."""

import gc

gc.disable()  # until all is loaded: it would take a sixth of the start

import django  # noqa: E402

django.setup()

from rollouts.workers.child_worker import main  # noqa: E402  after setup, because it imports models

if __name__ == "__main__":
    gc.enable()
    main()
