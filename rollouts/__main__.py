"""Entry point of the worker processes of `rollout_worker`: `python -m rollouts`."""

import django

django.setup()

from rollouts.workers.child_worker import main  # noqa: E402  after setup, because it imports models

if __name__ == "__main__":
    main()
