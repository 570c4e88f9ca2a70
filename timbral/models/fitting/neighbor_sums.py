"""What neighbours say to the users that are judged; it is the same whatever the factors are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64

from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.counted_plays import counted
from timbral.models.neighbors.neighbors import Neighbors

__all__ = ["NeighborSums"]

USERS_PER_SPAN = 50


@dataclass(frozen=True)
class NeighborSums:
    """Σ x·v of the items that a judged user has not played and neighbours speak for.

    Judged user n has ``items[start[n] : start[n] + length[n]]`` (int32), each once in no order, and
    ``sums[:, start[n] : start[n] + length[n]]`` (float32), a line for each λ. Of the user's hidden rows, in their
    order, ``hidden_place`` (int32) tells each one's place among those items, -1 where it is none of them.
    """

    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    sums: npt.NDArray[np.float32]
    hidden_place: npt.NDArray[np.int32]

    @classmethod
    def of(cls, part: HiddenPart, neighbors: list[Neighbors], threads: Threads) -> Self:
        """Of ``neighbors``, which all have the same pairs."""
        first, judged, known, hidden = neighbors[0], part.judged, part.known, part.hidden
        said = np.concatenate(([0], np.cumsum(np.diff(first.indptr)[known.indices])))
        most = np.minimum(said[known.indptr[judged + 1]] - said[known.indptr[judged]], first.n_items)
        start = np.cumsum(most) - most
        length = np.zeros(len(judged), np.int64)
        items = np.empty(int(most.sum()), np.int32)
        sums = np.zeros((len(neighbors), len(items)), np.float32)
        hidden_place = np.full(len(hidden.indices), -1, np.int32)
        weights = np.stack([kind.weights for kind in neighbors])
        counts = counted(known.indptr, known.values, first.play_exponent)
        threads.run(
            lambda begin, end: _sum(
                judged, known.indptr, known.indices, counts, hidden.indptr, hidden.indices, first.indptr, first.items,
                weights, begin, end, start, length, items, sums, hidden_place,
            ),
            [(begin, min(begin + USERS_PER_SPAN, len(judged))) for begin in range(0, len(judged), USERS_PER_SPAN)],
        )  # fmt: skip
        return cls(start, length, items, sums, hidden_place)


@kernel(
    judged=vector(int64),  # (n_judged,): the users that are judged
    known_indptr=vector(int64),  # (n_users + 1,)
    known=vector(int32),  # (n_known,): items that the users have played, rows of them
    counts=vector(float32),  # (n_known,): x, how much each counts; or of no elements where all count 1
    hidden_indptr=vector(int64),  # (n_users + 1,)
    hidden=vector(int32),  # (n_hidden,): items that were hidden, rows of them
    pair_indptr=vector(int64),  # (n_items + 1,)
    pair_items=vector(int32),  # (n_pairs,)
    pair_weights=matrix(float32),  # (n_kinds, n_pairs): v of each kind
    begin=int64,  # first judged user
    end=int64,  # the one behind the last
    start=vector(int64),  # (n_judged,): NeighborSums' start
    length=vector(int64, writable=True),  # (n_judged,): its length, out
    items=vector(int32, writable=True),  # (n_said,): its items, out
    sums=matrix(float32, writable=True),  # (n_kinds, n_said): its sums, all 0 before, out
    hidden_place=vector(int32, writable=True),  # (n_hidden,): out
    boundscheck=False,
)
def _sum(  # type: ignore[no-untyped-def]  # numba types it
    judged, known_indptr, known, counts, hidden_indptr, hidden, pair_indptr, pair_items, pair_weights, begin, end,
    start, length, items, sums, hidden_place,
):  # fmt: skip
    """Of the judged users ``begin`` to ``end``."""
    n_kinds = len(pair_weights)
    place_of = np.full(len(pair_indptr) - 1, -1, np.int32)
    for number in range(begin, end):
        user, first, size = judged[number], start[number], 0
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            place_of[known[entry]] = -2  # a played item is in no list
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            count = counts[entry] if len(counts) > 0 else float32(1.0)
            for pair in range(pair_indptr[known[entry]], pair_indptr[known[entry] + 1]):
                item = pair_items[pair]
                place = place_of[item]
                if place == -2:
                    continue
                if place == -1:
                    place = size
                    place_of[item] = size
                    items[first + size] = item
                    size += 1
                for kind in range(n_kinds):
                    sums[kind, first + place] += count * pair_weights[kind, pair]
        length[number] = size
        for entry in range(hidden_indptr[user], hidden_indptr[user + 1]):
            hidden_place[entry] = max(place_of[hidden[entry]], -1)
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            place_of[known[entry]] = -1
        for place in range(size):
            place_of[items[first + place]] = -1
