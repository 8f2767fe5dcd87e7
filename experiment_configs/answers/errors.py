"""The third outcome of a comparison."""


class NotComparedError(Exception):
    """Nobody can say whether two answers are the same: there is no result, not a "no".

    A comparison raises it when it runs out of time or memory, or when neither text can be read. A
    config's own `is_correct` may raise it too. The leaf then keeps its answer without a grade.
    """
