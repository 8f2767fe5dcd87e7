"""Edit distance of two texts."""

from collections import defaultdict


def edit_distance(one: str, other: str) -> int:
    """Return Levenshtein's distance: the fewest characters to insert, delete or replace.

    Hyyrö's form (2003) of the bit-parallel algorithm of Myers (1999): a whole column of the usual
    table is one integer, so texts of a thousand characters take about a millisecond.
    """
    if not one or not other:
        return len(one) + len(other)
    places: defaultdict[str, int] = defaultdict(int)
    for position, character in enumerate(one):
        places[character] |= 1 << position
    column = (1 << len(one)) - 1
    last = 1 << (len(one) - 1)
    grows, shrinks, distance = column, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        below = equal | shrinks
        across = (((equal & grows) + grows) ^ grows) | equal
        rises = shrinks | (~(across | grows) & column)
        falls = grows & across
        distance += bool(rises & last) - bool(falls & last)
        rises = ((rises << 1) | 1) & column
        falls = (falls << 1) & column
        grows = falls | (~(below | rises) & column)
        shrinks = rises & below
    return distance


def relative_edit_distance(one: str, other: str) -> float:
    """Return the edit distance as a share of the longer text: 0 for equal texts, 1 at most."""
    longest = max(len(one), len(other))
    return edit_distance(one, other) / longest if longest else 0.0
