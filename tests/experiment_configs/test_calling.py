import pytest

from experiment_configs.calling import call_method
from experiment_configs.interfaces import ConfigError


def get_label(item: dict[str, str]) -> str:
    return item["answer"]


def is_correct(answer: str, label: str) -> bool:
    raise ConfigError("the reference solutions are missing: set SOLUTIONS")


def test_a_result_is_passed_on():
    assert call_method(get_label, {"answer": "4"}) == "4"


def test_a_failure_names_the_method_and_what_happened():
    with pytest.raises(ConfigError, match=r"^get_label failed: KeyError: 'answer'$"):
        call_method(get_label, {})


def test_what_a_config_says_itself_is_left_as_it_is():
    with pytest.raises(ConfigError, match=r"^the reference solutions are missing"):
        call_method(is_correct, "4", "4")
