"""What the staff sees of the queue, and what it does with failed jobs."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry
from rq.results import Result

from rollouts.workers.jobs import enqueue_forest
from tests.rollouts.forests import seeded

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/queue/"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("staff"))
    return client


@pytest.fixture
def failed(queue: Queue) -> list[Job]:
    """Two failed jobs of a forest; no job waits."""
    forest = seeded(2)
    enqueue_forest(forest, 1)
    jobs = queue.jobs
    for job in jobs:
        queue.remove(job)
        text = f"Traceback\n  File …\nConfigError: <b>{job.id}</b> needs another config"
        FailedJobRegistry(queue=queue).add(job)
        Result.create_failure(job, ttl=60, exc_string=text)
    return jobs


def test_a_failed_job_shows_its_forest_and_its_reason(staff, failed):
    html = staff.get(PAGE).text

    assert "trees 0 to 0" in html
    assert "trees 1 to 1" in html
    for job in failed:
        reason = f"ConfigError: &lt;b&gt;{job.id}&lt;/b&gt; needs another config"
        assert f'<p class="error">{reason}</p>' in html
    assert "<b>grow" not in html


def test_a_failed_job_is_put_back_and_others_stay(staff, failed, queue):
    answer = staff.post(PAGE, {"job": failed[0].id, "action": "requeue"}, follow=True)

    assert "1 job put back into the queue." in answer.text
    assert queue.get_job_ids() == [failed[0].id]
    assert FailedJobRegistry(queue=queue).get_job_ids() == [failed[1].id]


def test_a_failed_job_is_deleted(staff, failed, queue):
    staff.post(PAGE, {"job": failed[0].id, "action": "delete"})

    assert not Job.exists(failed[0].id, connection=queue.connection)
    assert Job.exists(failed[1].id, connection=queue.connection)


def test_all_failed_jobs_are_put_back_at_once(staff, failed, queue):
    staff.post(PAGE, {"job": "all", "action": "requeue"})

    assert sorted(queue.get_job_ids()) == sorted(job.id for job in failed)
    assert "No job failed." in staff.get(PAGE).text


def test_a_job_that_did_not_fail_is_left_alone(staff, queue):
    enqueue_forest(seeded(1), 1)
    (job,) = queue.jobs

    for name in (job.id, "nobody", "\0"):
        answer = staff.post(PAGE, {"job": name, "action": "delete"}, follow=True)
        assert "Nothing changed" in answer.text

    assert queue.get_job_ids() == [job.id]
    assert staff.post(PAGE, {"job": job.id, "action": "stop"}).status_code == 400
    assert staff.get(f"{PAGE}?page=x").status_code == 404


def test_a_member_of_the_staff_without_the_permission_only_looks(client, failed, queue):
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_forest"))
    client.force_login(user)

    assert "Requeue" not in client.get(PAGE).text
    form = {"job": "all", "action": "delete"}
    assert client.post(PAGE, form).status_code == 403
    assert len(FailedJobRegistry(queue=queue).get_job_ids()) == 2
