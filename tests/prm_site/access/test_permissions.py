import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.test import RequestFactory

pytestmark = pytest.mark.django_db

NAME, OTHER = "forests.change_forest", "forests.delete_forest"


@pytest.fixture
def permission() -> Permission:
    return Permission.objects.get(codename="change_forest")


def reread(user: User) -> User:
    """Return the user as the next request reads it."""
    return User.objects.get(pk=user.pk)


def test_a_user_may_do_what_was_permitted_and_nothing_else(permission):
    user = User.objects.create_user("ada")
    assert not user.has_perm(NAME)
    user.user_permissions.add(permission)
    assert reread(user).get_user_permissions() == {NAME}
    assert reread(user).has_perm(NAME)
    assert not reread(user).has_perm(OTHER)
    assert reread(user).has_module_perms("forests")
    assert not reread(user).has_module_perms("preferences")


def test_a_user_may_do_what_one_of_the_groups_may(permission):
    editors, readers = (Group.objects.create(name=name) for name in ("editors", "readers"))
    editors.permissions.add(permission)
    user = User.objects.create_user("ada")
    user.groups.add(readers)
    assert not reread(user).has_perm(NAME)
    user.groups.add(editors)
    assert reread(user).get_group_permissions() == {NAME}
    assert reread(user).get_user_permissions() == set()
    assert reread(user).has_perm(NAME)


def test_a_superuser_may_do_everything_and_can_list_it():
    user = User.objects.create_superuser("root")
    assert user.has_perm(NAME)
    assert {NAME, OTHER, "auth.add_user"} <= user.get_all_permissions()


def test_who_is_not_active_or_not_logged_in_may_do_nothing(permission):
    user = User.objects.create_user("ada", is_active=False)
    user.user_permissions.add(permission)
    assert not reread(user).has_perm(NAME)
    assert reread(user).get_all_permissions() == set()
    assert AnonymousUser().get_all_permissions() == set()


def test_a_permission_does_not_hold_for_single_documents(permission):
    user = User.objects.create_user("ada")
    user.user_permissions.add(permission)
    assert not reread(user).has_perm(NAME, user)


def test_what_a_user_may_do_is_read_once_a_request(permission, django_assert_num_queries):
    group = Group.objects.create(name="editors")
    group.permissions.add(permission)
    user = User.objects.create_user("ada")
    user.groups.add(group)
    user.user_permissions.add(Permission.objects.get(codename="delete_forest"))
    assert reread(user).has_perm(NAME)  # caches the content types
    found = reread(user)
    with django_assert_num_queries(5):
        assert found.has_perm(NAME)
    with django_assert_num_queries(0):
        assert found.has_perm(OTHER)


def test_a_password_is_still_asked_for():
    user = User.objects.create_user("ada", password="correct-horse")
    request = RequestFactory().post("/login/")
    assert authenticate(request, username="ada", password="correct-horse") == user
    assert authenticate(request, username="ada", password="wrong") is None
