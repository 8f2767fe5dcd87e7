"""The third outcome of a comparison: no result."""


class NotComparedError(Exception):
    """The comparison cannot tell whether two answers are the same: no result, which is not a "no".

    Raised when a comparison runs out of time or memory, or when the label cannot be read. A
    config's own `is_correct` may raise it too. The leaf then keeps its answer and gets the grade
    `uncompared`.
    """
