"""A worker process of `rollout_worker`: `python -m rollouts`."""

import django

django.setup()

from rollouts.workers.child_worker import main  # noqa: E402  it needs the models

if __name__ == "__main__":
    main()
