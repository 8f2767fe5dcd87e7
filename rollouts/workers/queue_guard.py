"""Harden RQ: JSON only, and no callable but `grow_slice`.

By default RQ unpickles what it reads from Redis, calls the function and callbacks that a job names,
and requests its webhooks. RQ's settings change that for queues and workers, but its registries and
the pages of django-rq use RQ's own classes. So patch those classes when each process of the site
and its workers starts.
"""

from typing import Any

from django.utils.module_loading import import_string
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

_GROW_SLICE = "rollouts.workers.jobs.grow_slice"
_NAMES = (_GROW_SLICE, "rollouts.jobs.grow_slice")  # the second is that of earlier versions
_restore = Job.restore


def _function(job: Job) -> Any:
    if job.instance or job.func_name not in _NAMES:
        raise ValueError(f"job {job.id} calls {job.func_name}, which is not a job of this site")
    return import_string(_GROW_SLICE)  # the site and most commands never need it


def _restore_slice(job: Job, raw_data: Any) -> None:
    _restore(job, raw_data)
    job._success_callback_name = job._failure_callback_name = None  # noqa: SLF001
    job._stopped_callback_name = None  # noqa: SLF001
    job.webhooks = []


Job.func = property(_function)  # type: ignore[method-assign, assignment]
Job.restore = _restore_slice  # type: ignore[method-assign, assignment]
DefaultSerializer.dumps = staticmethod(JSONSerializer.dumps)
DefaultSerializer.loads = staticmethod(JSONSerializer.loads)
