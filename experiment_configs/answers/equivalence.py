"""Tell whether two answers mean the same."""

from experiment_configs.answers.formulas import is_formula, is_same_formula
from experiment_configs.answers.plain import MAX_ANSWER_LENGTH, compare_plainly, normalise


def is_same_answer(answer: str, label: str) -> bool:
    r"""Return whether an answer means the label, as `18.0 dollars` means `18`.

    Texts, numbers with units, yes and no, and multiple-choice letters are compared here; formulas
    by math-verify, in a child process with a deadline. What cannot be compared is not the same.
    """
    if answer.strip() == label.strip():
        return True
    if max(len(answer), len(label)) > MAX_ANSWER_LENGTH:
        return False
    same = compare_plainly(answer, label)
    if same is not None:
        return same
    formulas = normalise(answer), normalise(label)
    return all(map(is_formula, formulas)) and is_same_formula(*formulas)
