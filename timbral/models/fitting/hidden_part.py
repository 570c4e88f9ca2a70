"""A part of the data set held out from itself, to choose on: hidden rows of some users, the newest where there are
times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from timbral.models.engine.sparse_rows import SparseRows

__all__ = ["HiddenPart"]

MIN_JUDGED: Final = 100
MIN_ENTRIES: Final = 5_000
MAX_JUDGED: Final = 2_000
FEWER_JUDGED: Final = 800
MAX_SCORES: Final = 10_000_000
"""Of the judged users, for all items: in a large catalogue fewer users are judged, and no fewer than
``FEWER_JUDGED``."""
MIN_ROW: Final = 5
"""Entries that a judged user has."""

HELD_OUT: Final = 0.2
"""Of each judged user's entries, at random."""

NEWEST: Final = 0.1
"""Of all entries, where there are times."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HiddenPart:
    """``known`` and ``hidden`` are rows of all users; ``judged`` (ascending) those who are ranked for: each has rows of
    both."""

    known: SparseRows
    known_times: Times | None
    hidden: SparseRows
    judged: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: SparseRows, times: Times | None, rng: np.random.Generator) -> Self | None:
        """None where the data are too few to choose on.

        With times, the newest tenth of all rows is hidden from everybody, so that what changes with time is seen; where
        that leaves too few users with rows before and after, as where users stay for a day each, and without times,
        some rows of some users are.
        """
        if len(rows.values) < MIN_ENTRIES:
            return None
        found = None if times is None else cls._newest(rows, times, rng)
        return found or cls._some(rows, times, rng)

    @classmethod
    def _newest(cls, rows: SparseRows, times: Times, rng: np.random.Generator) -> Self | None:
        held = times > np.quantile(times, 1.0 - NEWEST, method="lower")
        owner = np.repeat(np.arange(rows.n_rows), np.diff(rows.indptr))
        n_known, n_hidden = (np.bincount(owner[part], minlength=rows.n_rows) for part in (~held, held))
        judged = np.flatnonzero((n_known + n_hidden >= MIN_ROW) & (n_known > 0) & (n_hidden > 0))
        return cls._cut(rows, times, held, judged, rng)

    @classmethod
    def _some(cls, rows: SparseRows, times: Times | None, rng: np.random.Generator) -> Self | None:
        counts = np.diff(rows.indptr)
        judged = np.flatnonzero(counts >= MIN_ROW)
        judged = np.sort(rng.permutation(judged)[: _most_judged(rows.n_columns)])
        owner = np.repeat(np.arange(rows.n_rows), counts)
        by_chance = rng.random(len(owner))  # of rows of one moment, too: they come in the order of their items
        is_judged = np.zeros(rows.n_rows, dtype=bool)
        is_judged[judged] = True
        entries = np.flatnonzero(is_judged[owner])
        by = (by_chance[entries], owner[entries])
        order = entries[np.lexsort(by if times is None else (by[0], -times[entries], by[1]))]
        n_each = counts[judged]
        place = np.arange(len(entries)) - np.repeat(np.cumsum(n_each) - n_each, n_each)
        held = np.zeros(len(owner), dtype=bool)
        held[order] = place < np.repeat(np.rint(HELD_OUT * n_each), n_each)
        return cls._cut(rows, times, held, judged, rng)

    @classmethod
    def _cut(
        cls,
        rows: SparseRows,
        times: Times | None,
        held: npt.NDArray[np.bool_],
        judged: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Self | None:
        if len(judged) < MIN_JUDGED:
            return None
        judged = np.sort(rng.permutation(judged)[: _most_judged(rows.n_columns)])
        known_times = None if times is None else times[~held]
        return cls(rows.only(~held), known_times, rows.only(held), judged)


def _most_judged(n_items: int) -> int:
    return max(FEWER_JUDGED, min(MAX_JUDGED, MAX_SCORES // n_items))
