"""The packages that a site depends on, and their licences."""

from deploy.licences import (
    GPL,
    PAGE,
    document,
    licence_of,
    normalised,
    pinned,
    runtime_packages,
)


def test_the_table_of_licences_is_what_the_installed_packages_state():
    written = PAGE.read_text(encoding="utf-8")

    assert written == document(), "run python -m deploy.licences"


def test_nothing_that_a_site_needs_is_under_a_gnu_licence():
    licences = {name: licence_of(name) for name in runtime_packages()}

    assert {"django", "pymongo", "markdown-it-py", "rq", "aiohttp"} <= set(licences)
    assert [name for name, licence in licences.items() if GPL.search(licence)] == []


def test_the_one_gnu_package_is_told_and_is_of_an_extra():
    gnu = {normalised(name) for name in pinned() if GPL.search(licence_of(name))}

    assert gnu == {"secantusdb", "docutils"}
    assert not gnu & runtime_packages()
