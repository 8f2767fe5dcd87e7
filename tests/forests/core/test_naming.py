import pytest

from forests.core.naming import (
    MAX_NAME_LENGTH,
    ForestNameError,
    check_forest_name,
    forest_name,
    index_of_tree,
    node_id,
    path_of_node,
    tree_id,
)


def test_a_name_says_config_split_and_suffix():
    assert forest_name("gsm8k_baseline", "test", "first") == "gsm8k_baseline-test-first"


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(ForestNameError, match=f"at most {MAX_NAME_LENGTH}"):
        forest_name("a", "test", "x" * 120)


@pytest.mark.parametrize("name", ["admin", "django-rq", "static", "../first", "", "A", "a b"])
def test_a_name_that_is_a_page_or_no_address_is_refused(name: str):
    with pytest.raises(ForestNameError, match=r"is a page of the site|cannot be part of an"):
        check_forest_name(name)


@pytest.mark.parametrize("split", ["", "Test", "a/b", "train[:10]"])
def test_a_split_that_cannot_stand_in_an_address_is_refused(split: str):
    with pytest.raises(ForestNameError, match="dataset split"):
        forest_name("a", split, "b")


def test_ids_say_where_a_document_belongs():
    tree = tree_id("forest", 12)

    assert tree == "forest/0000012"
    assert index_of_tree(tree) == 12
    assert node_id(tree, (2, 1)) == "forest/0000012/0.2.1"
    assert path_of_node("forest/0000012/0.2.1") == (2, 1)


def test_ids_sort_as_the_dataset_does():
    assert sorted(tree_id("f", index) for index in (10, 9, 100)) == [
        tree_id("f", index) for index in (9, 10, 100)
    ]
