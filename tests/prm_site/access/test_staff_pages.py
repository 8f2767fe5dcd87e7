"""Staff may ask for anything, and get no 500."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rq.queue import Queue

LONG = "a" * 5000
QUEUE_PAGES = [
    "", "details/", "finished/", "failed/", "failed/clear/", "scheduled/", "started/", "deferred/",
    "empty/", "requeue-all/", "nobody/",
]  # fmt: skip
JOB_PAGES = [
    "", "results/none/", "delete/", "requeue/", "enqueue/", "stop/",
]  # fmt: skip
NOT_THERE = [
    *(f"queues/{number}/{page}" for number in (7, 10**30) for page in QUEUE_PAGES),
    *(f"queues/0/nobody/{page}" for page in JOB_PAGES),
    "queues/confirm-action/7/", "queues/actions/7/", "workers/7/", "workers/0/nobody/",
    "workers/0/rq:worker:nobody/", "workers/0/%00/", "workers/0/rq:job:x/", "schedulers/0/",
    "schedulers/9/", "cron-schedulers/0/x/", "cron-schedulers/9/x/", "cron-schedulers/9/x/jobs/y/",
]  # fmt: skip
LISTS = [
    "forests/forest", "forests/tree", "forests/node", "forests/activity", "auth/user", "auth/group",
    "metrics/metricrun", "metrics/scorerreport", "preferences/preferenceset",
]  # fmt: skip
QUERIES = [
    "failures__$where=1", "failures__contains=1", "failures__a%00b=1", "failures__has_key=$x",
    "worker_config__$where=1", "worker_config__a%00b=1", f"q={LONG}", "q=%00", "q=%ED%A0%80",
    "q=[1", "q='\"$", "o=1.2.3", "o=x", "p=-1", "p=x", f"p={'9' * 30}", "all=", "e=1", "pk=1",
    "pk__exact=x", "pk__in=1,2", "id__regex=(", "username__regex=(", "name__regex=(", "forest=x",
    "_facets=True", "is_paused__exact=9", "status__exact=$where", "groups__id__exact=x",
    "is_staff__exact=x", "_popup=1", "created_at__year=x",
]  # fmt: skip
KEYS = ["x", "507f1f77bcf86cd799439011", "%00", LONG, "$where", "9" * 500, "_5F", "_00"]


@pytest.fixture
def staff(client: Client, db: None, queue: Queue) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize("page", NOT_THERE)
def test_queues_jobs_and_workers_that_are_not_there_are_not_found(staff: Client, page: str):
    for ask in (staff.get, staff.post, staff.head):
        assert ask(f"/admin/rq/{page}").status_code in (404, 405)


def test_jobs_that_a_form_names_and_that_have_ended_are_not_found(staff: Client):
    form = {"action": "delete", "job_ids": ["ended"]}

    assert staff.post("/admin/rq/queues/actions/0/", form).status_code == 404


def test_a_queue_and_a_job_that_are_there_are_shown(staff: Client, queue: Queue):
    job = queue.enqueue("builtins.len", [1])

    assert staff.get("/admin/rq/queues/0/").status_code == 200
    assert staff.get(f"/admin/rq/queues/0/{job.id}/").status_code == 200
    assert staff.get(f"/admin/rq/queues/0/{job.id}/delete/").status_code == 200


def test_strangers_do_not_learn_which_jobs_there_are(client: Client, queue: Queue, settings):
    settings.PUBLIC = True
    job = queue.enqueue("builtins.len", [1])

    answers = [client.get(f"/admin/rq/queues/0/{one}/") for one in (job.id, "nobody")]

    assert [answer.status_code for answer in answers] == [302, 302]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_the_admin_answers_or_refuses_any_query(staff: Client, name: str):
    answers = {query: staff.get(f"/admin/{name}/?{query}").status_code for query in QUERIES}

    assert {query[:40]: code for query, code in answers.items() if code >= 500} == {}
    assert staff.get(f"/admin/{name}/").status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_a_document_that_is_not_there_is_not_found(staff: Client, name: str):
    for key in KEYS:
        for page in ("change/", "history/", "delete/", ""):
            assert staff.get(f"/admin/{name}/{key}/{page}", follow=True).status_code < 500


def test_a_query_that_the_database_refuses_is_told_from_a_database_that_is_away(staff: Client):
    answer = staff.get("/admin/auth/user/?username__regex=(")

    assert answer.status_code == 400
    assert "is not supported" in answer.text
