"""The page of the queue, for the staff."""

from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from rq.queue import Queue
from rq.registry import FailedJobRegistry

from common.text import counted
from forests.models import Forest
from forests.pages.page_requests import read_number
from prm_site.queue_pages.reading import JOBS_PER_PAGE, failed_job, read_queue
from rollouts.workers.jobs import rollout_queue

_ALL = "all"
_DONE = {"requeue": "put back into the queue", "delete": "deleted"}
_MAX_AT_ONCE = 1000


@never_cache
@staff_member_required
@require_http_methods(["GET", "HEAD", "POST"])
def queue(request: HttpRequest) -> HttpResponse:
    """Show jobs and workers; a POST puts failed jobs back into the queue, or deletes them."""
    may_change = isinstance(request.user, User) and request.user.has_perm("forests.change_forest")
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied("changing the queue needs the permission `change_forest`")
        return _change(request, rollout_queue())
    page = read_number(request.GET.get("page", "1"))
    if not page:
        raise Http404("there is no such page of failed jobs")
    state = read_queue(rollout_queue(), page)
    named = {job.forest for job in (*state.waiting, *state.running, *state.failed)}
    named |= {one.job.forest for one in state.workers if one.job}
    context = {
        "state": state,
        "known": set(Forest.objects.filter(pk__in=named).values_list("pk", flat=True)),
        "may_change": may_change,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page * JOBS_PER_PAGE < state.num_failed else None,
    }
    return render(request, "queue/queue.html", context)


def _change(request: HttpRequest, rollouts: Queue) -> HttpResponse:
    action, named = request.POST.get("action", ""), request.POST.get("job", "")
    if action not in _DONE or not named:
        return HttpResponseBadRequest("name a failed job, and requeue or delete", "text/plain")
    registry = FailedJobRegistry(queue=rollouts)
    ids = registry.get_job_ids(0, _MAX_AT_ONCE - 1) if named == _ALL else [named]
    changed = 0
    for job_id in ids:
        job = failed_job(rollouts, job_id)
        if job is None:
            registry.remove(job_id)
        elif action == "requeue":
            registry.requeue(job)
            changed += 1
        else:
            job.delete()
            changed += 1
    if changed:
        messages.success(request, f"{counted(changed, 'job')} {_DONE[action]}.")
    else:
        messages.warning(request, "Nothing changed: the job is not among the failed ones any more.")
    return redirect("queue")
