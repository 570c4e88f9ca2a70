"""What is in no list of a user: marks, one for each item, that a kernel sets as it comes to a user."""

from __future__ import annotations

from typing import Final

import numba

__all__ = ["EXCLUDED", "is_marked", "is_out", "mark"]

EXCLUDED: Final = -1

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def mark(marks, row, seen_indptr, seen, blocked_indptr, blocked):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(seen_indptr[row], seen_indptr[row + 1]):
        if marks[seen[place]] != EXCLUDED:
            marks[seen[place]] = row + 1
    for place in range(blocked_indptr[row], blocked_indptr[row + 1]):
        if marks[blocked[place]] != EXCLUDED:
            marks[blocked[place]] = row + 1


@_jit
def is_marked(what, row):  # type: ignore[no-untyped-def]  # numba types it
    """Whether ``what``, an item's mark, says that it is not in the list."""
    return (what == EXCLUDED) | (what == row + 1)


@_jit
def is_out(item, row, barred, marks):  # type: ignore[no-untyped-def]  # numba types it
    return marks[item] == EXCLUDED or marks[item] == row + 1 or (len(barred) > 0 and barred[item] != 0)
