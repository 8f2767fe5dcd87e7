"""Staff may ask for anything, and get no 500."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

LONG = "a" * 5000
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
def staff(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    client.raise_request_exception = False
    return client


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
