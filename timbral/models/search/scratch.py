"""Memory that a search writes into, kept by each thread from one search to the next.

Fresh memory costs a page fault at each place that is touched: with a million items, more than the whole search of one
user's list.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Scratch", "scratch"]


@dataclass(frozen=True)
class Scratch:
    """For ``n_items`` items, 16 bytes each; all 0 between two searches, but for ``touched``."""

    marks: npt.NDArray[np.int32]
    sums: npt.NDArray[np.float64]
    touched: npt.NDArray[np.int32]

    @classmethod
    def of(cls, n_items: int) -> Scratch:
        """New."""
        return cls(np.zeros(n_items, np.int32), np.zeros(n_items), np.empty(n_items + 1, np.int32))


class _Kept(threading.local):
    scratch: Scratch | None = None


_kept = _Kept()


@contextmanager
def scratch(n_items: int, marked: Sequence[npt.NDArray[Any]]) -> Iterator[Scratch]:
    """This thread's; ``marked`` are the items whose ``marks`` the search sets."""
    held, _kept.scratch = _kept.scratch, None
    if held is None or len(held.marks) != n_items:
        held = Scratch.of(n_items)
    yield held
    # Not where the search failed: it may have left anything.
    if 4 * sum(len(items) for items in marked) > n_items:
        held.marks.fill(0)
    else:
        for items in marked:
            held.marks[items] = 0
    _kept.scratch = held
