"""RQ, made to read nothing but JSON, and to call nothing but our job, wherever we meet the queue.

RQ unpickles what stands in the queue's server, calls what a job there names as its function or its
callbacks, and asks what it names as webhooks. Its settings change that for queues and workers; the
registries, and the pages of django-rq, go by RQ's own classes. So these are changed themselves, in
each process of the site and of its workers, when it starts.
"""

from typing import Any

from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

from rollouts.workers.jobs import grow_slice

_FUNCTIONS = {
    f"{grow_slice.__module__}.{grow_slice.__name__}": grow_slice,
    "rollouts.jobs.grow_slice": grow_slice,  # as earlier versions called it
}
_restore = Job.restore


def _function(job: Job) -> Any:
    if job.instance or job.func_name not in _FUNCTIONS:
        raise ValueError(f"job {job.id} calls {job.func_name}, which is no job of this site")
    return _FUNCTIONS[job.func_name]


def _restore_slice(job: Job, raw_data: Any) -> None:
    _restore(job, raw_data)
    job._success_callback_name = job._failure_callback_name = None  # noqa: SLF001
    job._stopped_callback_name = None  # noqa: SLF001
    job.webhooks = []


Job.func = property(_function)  # type: ignore[method-assign, assignment]
Job.restore = _restore_slice  # type: ignore[method-assign, assignment]
DefaultSerializer.dumps = staticmethod(JSONSerializer.dumps)
DefaultSerializer.loads = staticmethod(JSONSerializer.loads)
