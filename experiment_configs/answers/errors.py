"""The third outcome of a comparison: no result."""


class NotComparedError(Exception):
    """Nobody can tell whether two answers are the same: there is no result, not a "no".

    Raised when a comparison runs out of time or memory, or when neither text can be read. A
    config's own `is_correct` may raise it too. The leaf then keeps its answer without a grade.
    """
