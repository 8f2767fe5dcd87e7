"""Who may log in, and what each role may do."""

import json
import os
import pickle
from io import StringIO
from pathlib import Path

import pytest
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from rq.queue import Queue

from prm_site.access.login_attempts import client_address
from prm_site.access.roles import OPERATOR, REVIEWER, ROLES, VIEWER

PASSWORD = "correct-horse"


def add_user(username: str, role: str) -> dict[str, str]:
    out = StringIO()
    call_command("add_user", username=username, role=role, stdout=out)
    added: dict[str, str] = json.loads(out.getvalue())
    return added


def log_in(client: Client, username: str, password: str, address: str = "127.0.0.1"):
    form = {"username": username, "password": password}
    return client.post("/login/", form, REMOTE_ADDR=address)


@pytest.mark.django_db
class TestRoles:
    @pytest.mark.parametrize("role", ROLES)
    def test_a_user_with_a_role_may_do_exactly_what_the_role_says(self, role: str):
        add_user("ada", role)

        assert User.objects.get(username="ada").get_all_permissions() == ROLES[role]

    def test_only_operators_enter_the_admin(self, client: Client):
        for role in ROLES:
            user = add_user(role, role)
            assert log_in(client, role, user["password"]).status_code == 302
            allowed = client.get("/admin/forests/forest/").status_code == 200
            assert allowed is (role == OPERATOR)
            client.logout()

    def test_a_user_who_gets_another_role_loses_the_one_before_and_keeps_the_password(self):
        password = add_user("ada", OPERATOR)["password"]

        assert "password" not in add_user("ada", VIEWER)

        ada = User.objects.get(username="ada")
        assert ada.check_password(password)
        assert not ada.is_staff
        assert [group.name for group in ada.groups.all()] == [VIEWER]

    def test_a_superuser_stays_one(self):
        User.objects.create_superuser("root")
        add_user("root", REVIEWER)

        assert User.objects.get(username="root").is_staff

    def test_a_name_that_cannot_be_used_is_refused_and_nobody_is_made(self):
        with pytest.raises(CommandError, match="--username 'a b'"):
            add_user("a b", VIEWER)
        assert not User.objects.exists()

    def test_of_two_commands_at_once_one_says_that_the_user_is_there(self, monkeypatch):
        check = User.full_clean

        def check_while_another_command_makes_the_user(user: User) -> None:
            check(user)
            monkeypatch.undo()
            add_user("ada", VIEWER)

        monkeypatch.setattr(User, "full_clean", check_while_another_command_makes_the_user)
        with pytest.raises(CommandError, match="another command has just made this user"):
            add_user("ada", REVIEWER)
        assert [group.name for group in User.objects.get(username="ada").groups.all()] == [VIEWER]

    def test_a_database_without_the_groups_is_to_be_migrated(self):
        kept = {
            group.pk: list(group.permissions.all()) for group in Group.objects.filter(name=VIEWER)
        }
        Group.objects.filter(name=VIEWER).update(name="watcher")
        try:
            with pytest.raises(CommandError, match=r"manage\.py migrate"):
                add_user("ada", VIEWER)
        finally:
            Group.objects.filter(pk__in=list(kept)).update(name=VIEWER)


@pytest.mark.django_db
@pytest.mark.usefixtures("queue")
class TestPassword:
    def change(self, client: Client, old: str, new: str):
        form = {"old_password": old, "new_password1": new, "new_password2": new}
        return client.post("/login/password/", form, follow=True)

    @pytest.mark.parametrize("role", ROLES)
    def test_each_role_can_change_its_own(self, client: Client, role: str):
        made = add_user("ada", role)["password"]
        log_in(client, "ada", made)
        assert 'href="/login/password/"' in client.get("/").text

        response = self.change(client, made, PASSWORD)

        assert response.redirect_chain == [("/", 302)]
        assert "Your password was changed." in response.text
        client.logout()
        assert log_in(client, "ada", made).status_code == 200
        assert log_in(client, "ada", PASSWORD).status_code == 302

    @pytest.mark.parametrize(
        ("is_old_wrong", "new", "reason"),
        [(True, PASSWORD, "old password was entered incorrectly"), (False, "12", "too short")],
    )
    def test_a_wrong_old_one_and_a_weak_new_one_change_nothing(
        self, client: Client, is_old_wrong: bool, new: str, reason: str
    ):
        made = add_user("ada", VIEWER)["password"]
        log_in(client, "ada", made)

        response = self.change(client, "wrong" if is_old_wrong else made, new)

        assert reason in response.text
        assert User.objects.get(username="ada").check_password(made)

    @pytest.mark.parametrize("is_public", [True, False])
    def test_strangers_are_sent_to_the_login(self, client: Client, settings, is_public: bool):
        settings.PUBLIC = is_public
        response = client.get("/login/password/")
        assert response["Location"].startswith("/login/?next=")


@pytest.mark.django_db
@pytest.mark.usefixtures("queue")
class TestLoginLimit:
    @pytest.fixture(autouse=True)
    def _three_failures(self, settings):
        settings.AXES_FAILURE_LIMIT = 3
        User.objects.create_user("ada", password=PASSWORD)
        User.objects.create_user("bob", password=PASSWORD)

    def fail(self, client: Client, username: str, times: int, *address: str) -> list[int]:
        return [log_in(client, username, "wrong", *address).status_code for _ in range(times)]

    def test_who_fails_too_often_waits_even_with_the_right_password(self, client: Client):
        assert self.fail(client, "ada", 3) == [200, 200, 429]

        response = log_in(client, "ada", PASSWORD)

        assert response.status_code == 429
        assert "Try again in 900 seconds" in response.text
        assert "Content-Security-Policy" in response.headers
        assert client.get("/").status_code == 302

    def test_a_name_is_locked_for_all_addresses_and_an_address_for_all_names(self, client: Client):
        self.fail(client, "ada", 3, "192.0.2.1")

        assert log_in(client, "ada", PASSWORD, "192.0.2.2").status_code == 429
        assert log_in(client, "bob", PASSWORD, "192.0.2.1").status_code == 429
        assert log_in(client, "bob", PASSWORD, "192.0.2.2").status_code == 302

    def test_an_address_that_is_locked_cannot_lock_other_names(self, client: Client):
        self.fail(client, "ada", 3, "192.0.2.1")
        self.fail(client, "bob", 9, "192.0.2.1")

        assert log_in(client, "bob", PASSWORD, "192.0.2.2").status_code == 302

    def test_the_login_of_the_admin_counts_too(self, client: Client):
        form = {"username": "ada", "password": "wrong"}
        statuses = [client.post("/admin/login/", form).status_code for _ in range(3)]

        assert statuses == [200, 200, 429]

    def test_a_success_forgets_the_failures_of_the_name_before_it(self, client: Client):
        for number in range(3):
            assert self.fail(client, "ada", 2, f"192.0.2.{number}") == [200, 200]
            assert log_in(client, "ada", PASSWORD, f"198.51.100.{number}").status_code == 302
            client.logout()

    def test_an_own_success_does_not_forget_what_was_guessed_from_the_address(self, client: Client):
        self.fail(client, "bob", 2, "192.0.2.1")
        assert log_in(client, "ada", PASSWORD, "192.0.2.1").status_code == 302
        client.logout()

        assert self.fail(client, "carol", 1, "192.0.2.1") == [429]

    def test_a_name_that_reads_like_an_address_locks_nobody_out_there(self, client: Client):
        assert self.fail(client, "192.0.2.1", 3, "192.0.2.9") == [200, 200, 429]

        assert log_in(client, "ada", PASSWORD, "192.0.2.1").status_code == 302

    def test_the_log_says_who_was_tried_from_where_but_not_what_is_no_name(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ):
        self.fail(client, "ada", 3, "192.0.2.1")
        self.fail(client, "hunter2\nforged line", 1, "192.0.2.2")

        said = "\n".join(record.getMessage() for record in caplog.records)
        assert "Locking out ada at 192.0.2.1" in said
        assert "login failure by nobody of this site at 192.0.2.2" in said
        assert "hunter2" not in said
        assert "forged" not in said

    def test_code_among_the_counts_is_not_run(self, queue: Queue, tmp_path: Path):
        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "made"),)

        cache.set("attempts", 7)
        queue.connection.set(cache.make_key("planted"), pickle.dumps(Hostile()))

        assert cache.get("attempts") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            cache.get("planted")
        assert list(tmp_path.iterdir()) == []

    def test_an_operator_can_end_the_wait(self, client: Client):
        self.fail(client, "ada", 3)
        call_command("axes_reset_username", "ada", stdout=StringIO())
        call_command("axes_reset_ip", "127.0.0.1", stdout=StringIO())

        assert log_in(client, "ada", PASSWORD).status_code == 302

    def test_without_the_server_that_counts_nobody_is_let_in(
        self, client: Client, settings, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(AxesProxyHandler, "implementation", None)  # caches its connection
        settings.CACHES = {
            "default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}
        }

        response = log_in(client, "ada", PASSWORD)

        assert response.status_code == 503
        assert "does not answer" in response.text
        assert client.get("/").status_code == 302


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "made-up, 203.0.113.9", "203.0.113.9"),
        (2, "made-up, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, "ada", "192.0.2.1"),
        (1, "2001:DB8:1:2:3::4", "2001:db8:1:2::"),
        (1, "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
        (1, "2001:db8:1:3::4", "2001:db8:1:3::"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_an_address_is_what_the_own_proxies_say(settings, proxies, forwarded, expected):
    settings.PROXY_COUNT = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="192.0.2.1")

    assert client_address(request) == expected


@pytest.mark.django_db
@pytest.mark.usefixtures("queue")
def test_all_addresses_of_an_ipv6_network_are_limited_as_one(client: Client, settings):
    settings.AXES_FAILURE_LIMIT = 3
    for number in range(3):
        log_in(client, f"user{number}", "wrong", address=f"2001:db8:1:2::{number}")

    assert log_in(client, "ada", "wrong", address="2001:db8:1:2:3:4:5:6").status_code == 429
    assert log_in(client, "ada", "wrong", address="2001:db8:1:3::1").status_code == 200


@pytest.mark.django_db
def test_sessions_that_have_ended_are_deleted_and_no_others(client: Client):
    ended, going_on = SessionStore(), SessionStore()
    ended.set_expiry(-1)
    for session in (ended, going_on):
        session.create()

    call_command("clearsessions")

    assert [one.session_key for one in Session.objects.all()] == [going_on.session_key]


@pytest.mark.django_db
@pytest.mark.usefixtures("queue")
class TestKeptCopies:
    PAGES = ("/", "/login/", "/nobody/", "/admin/", "/metrics", "/login/password/")

    @pytest.mark.parametrize("address", PAGES)
    def test_nothing_keeps_what_is_behind_the_login(self, client: Client, settings, address: str):
        settings.PUBLIC = False
        client.force_login(User.objects.create_superuser("root"))

        assert "no-store" in client.get(address)["Cache-Control"]
        client.logout()
        assert "no-store" in client.get(address)["Cache-Control"]

    def test_what_everybody_may_read_may_be_kept_but_not_with_a_login(
        self, client: Client, settings
    ):
        settings.PUBLIC = True
        assert "Cache-Control" not in client.get("/")

        client.force_login(User.objects.create_superuser("root"))
        assert "no-store" in client.get("/")["Cache-Control"]
