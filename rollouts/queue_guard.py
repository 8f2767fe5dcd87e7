"""RQ, made to read nothing but JSON, and no jobs but ours, wherever this site meets the queue.

By default RQ unpickles what stands in the queue's server, and calls what a job names as its
callback. Settings change that for its queues and workers only: the registries, and the pages of
django-rq, go by RQ's own defaults, which this module replaces when the site or a worker starts.
"""

from rq import Queue, registry
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.worker import BaseWorker

from rollouts.workers import RolloutJob

DefaultSerializer.dumps = staticmethod(JSONSerializer.dumps)
DefaultSerializer.loads = staticmethod(JSONSerializer.loads)
Queue.job_class = BaseWorker.job_class = RolloutJob
registry.Job = RolloutJob  # type: ignore[misc]
