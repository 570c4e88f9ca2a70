"""How well the hidden rows are ranked, by factors with neighbours of several weights at once.

A list is never made: of each hidden item it is counted how many others score as high. Only where it comes in the first
``LENGTH`` matters; so of the items that no neighbour speaks for, the best so many are all that is looked at, whatever
the weight.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, int64, njit, types

from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.fitting.neighbor_sums import NeighborSums
from timbral.models.kernels.heap import offer
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads
from timbral.models.kernels.vector_sum import LANES, UNROLLED, WIDE, aligned_zeros, weighted_sums_of_blocks

__all__ = ["LENGTH", "judge"]

LENGTH: Final = 50
"""Of the lists that are judged: longer ones than people see tell the same from fewer users."""

USERS_PER_SPAN: Final = 64
SCORES_PER_SPAN: Final = 1 << 22
"""Or fewer users, that all their scores are no more than that."""

BLOCK_ITEMS: Final = WIDE * LANES
RULED_OUT: Final = np.float32(-1.0)

Matrix = npt.NDArray[np.float32]


@njit(nogil=True, boundscheck=False, fastmath={"reassoc", "nsz"})
def _n_as_high(scores, size, score):  # type: ignore[no-untyped-def]  # numba types it
    """How many of ``scores[:size]`` are no less than ``score``."""
    count = float32(0.0)  # exact up to 2^24, and as wide as the scores: a vector of them is compared at a time
    for place in range(size):
        count += float32(1.0) if scores[place] >= score else float32(0.0)
    return np.int64(count)


@njit(nogil=True, boundscheck=False, fastmath={"contract"})
def _add(scores, sums, weight, size, out):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(size):
        out[place] = scores[place] + weight * sums[place]


@kernel(
    user_factors=matrix(float32),  # (n_judged, k and zeros up to a multiple of UNROLLED): by the judged users' places
    packed=types.Array(float32, 3, "C", readonly=True),  # (n_blocks, k, LANES): the item factors
    n_items=int64,  # that the blocks have
    judged=vector(int64),  # (n_judged,): the users that are judged
    known_indptr=vector(int64),  # (n_users + 1,)
    known=vector(int32),  # (n_known,): items that the users have played
    hidden_indptr=vector(int64),  # (n_users + 1,)
    hidden=vector(int32),  # (n_hidden,): items that were hidden
    said_start=vector(int64),  # (n_judged,): NeighborSums' start
    said_length=vector(int64),  # (n_judged,): its length
    said_items=vector(int32),  # (n_said,): its items
    said=matrix(float32),  # (n_kinds, n_said): its sums
    hidden_place=vector(int32),  # (n_hidden,): its hidden_place
    gammas=vector(float32),  # (n_weights,): what the sums are multiplied by
    start=int64,  # first judged user
    stop=int64,  # the one behind the last
    discounts=vector(float64),  # (LENGTH,): 1 / log2(rank + 1)
    quality=types.Array(float64, 3, "C"),  # (n_judged, n_kinds, n_weights): all 0 before, out
    boundscheck=False,
)
def _judge(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, packed, n_items, judged, known_indptr, known, hidden_indptr, hidden, said_start, said_length,
    said_items, said, hidden_place, gammas, start, stop, discounts, quality,
):  # fmt: skip
    """``quality[n, m, g]`` (n_judged, kinds, weights): the mean of recall and NDCG of the judged users ``start`` to
    ``stop`` with sums ``said[m]`` times ``gammas[g]``.

    ``user_factors`` (n_judged, k + zeros up to a multiple of UNROLLED) goes by the judged users' places, ``known`` and
    ``hidden`` by users; ``packed`` (n_blocks, k, LANES) are the item factors; ``said_start``, ``said_length``,
    ``said_items``, ``said`` and ``hidden_place`` are those of NeighborSums.
    """
    length = len(discounts)
    scores = np.empty((stop - start, len(packed) * LANES), np.float32)
    components = np.minimum(np.arange(user_factors.shape[1]), packed.shape[1] - 1)
    for block in range(0, len(packed), WIDE):
        for number in range(start, stop):
            out = scores[number - start, block * LANES : (block + WIDE) * LANES]
            weighted_sums_of_blocks(
                user_factors[number], components, user_factors.shape[1], packed, block, float32(0.0), out
            )
    longest, most_hidden = 0, 0
    for number in range(start, stop):
        longest = max(longest, said_length[number])
        most_hidden = max(most_hidden, hidden_indptr[judged[number] + 1] - hidden_indptr[judged[number]])
    own, whole = np.empty(longest, np.float32), np.empty(longest, np.float32)
    own_hidden = np.empty(most_hidden, np.float32)
    left = np.empty(most_hidden, np.float32)
    # One more than a list has: a hidden item among them is counted with itself.
    rest, rest_items = np.empty(length + 1, np.float32), np.empty(length + 1, np.int32)
    for number in range(start, stop):
        user, row, first, n_said = judged[number], scores[number - start], said_start[number], said_length[number]
        first_hidden = hidden_indptr[user]
        n_hidden = hidden_indptr[user + 1] - first_hidden
        for place in range(n_hidden):
            own_hidden[place] = row[hidden[first_hidden + place]]
        for place in range(n_said):
            own[place] = row[said_items[first + place]]
        for place in range(n_said):
            row[said_items[first + place]] = RULED_OUT
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            row[known[entry]] = RULED_OUT
        n_rest, least = 0, RULED_OUT
        for first_item in range(0, n_items, BLOCK_ITEMS):
            end = min(first_item + BLOCK_ITEMS, n_items)
            if _n_as_high(row[first_item:end], end - first_item, least) == 0:
                continue
            for item in range(first_item, end):
                if row[item] > least:
                    n_rest = offer(rest, rest_items, n_rest, row[item], item)
                    if n_rest == length + 1:
                        least = rest[0]
        ideal = 0.0
        for rank in range(min(n_hidden, length)):
            ideal += discounts[rank]
        for kind in range(len(said)):
            for g in range(len(gammas)):
                _add(own, said[kind, first : first + n_said], gammas[g], n_said, whole)
                for place in range(n_hidden):
                    where = hidden_place[first_hidden + place]
                    left[place] = whole[where] if where >= 0 else own_hidden[place]
                for _ in range(min(n_hidden, length)):
                    # The best of the hidden items that are left; once one comes too late, all others do.
                    best = 0
                    for place in range(1, n_hidden):
                        if left[place] > left[best]:
                            best = place
                    score = left[best]
                    left[best] = RULED_OUT
                    rank = _n_as_high(rest, n_rest, score) + _n_as_high(whole, n_said, score) - 1
                    if rank >= length:
                        break
                    quality[number, kind, g] += (1.0 / n_hidden + discounts[rank] / ideal) / 2.0


def judge(
    user_factors: Matrix, item_rows: Matrix, part: HiddenPart, sums: NeighborSums, gammas: npt.ArrayLike,
    threads: Threads, length: int = LENGTH,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """The mean of recall and NDCG at ``length`` over the full ranking, of each judged user, for each line of ``sums``
    and each weight; float64 (n_judged, kinds, weights). Of equal scores the hidden one comes last.

    Args:
        user_factors: those of the judged users, (n, k).
        item_rows: (n_items, k).
    """
    judged, known, hidden = part.judged, part.known, part.hidden
    n_items, k = item_rows.shape
    users = np.zeros((len(judged), -(-k // UNROLLED) * UNROLLED), np.float32)
    users[:, :k] = user_factors
    packed = aligned_zeros((-(-n_items // BLOCK_ITEMS) * WIDE, k, LANES))
    whole_blocks = n_items // LANES
    packed[:whole_blocks] = item_rows[: whole_blocks * LANES].reshape(whole_blocks, LANES, k).transpose(0, 2, 1)
    if n_items % LANES:
        packed[whole_blocks, :, : n_items % LANES] = item_rows[whole_blocks * LANES :].T
    gammas = np.asarray(gammas, dtype=np.float32)
    discounts = 1.0 / np.log2(np.arange(2.0, length + 2.0))
    quality = np.zeros((len(judged), len(sums.sums), len(gammas)))
    step = max(1, min(USERS_PER_SPAN, SCORES_PER_SPAN // n_items))
    threads.run(
        lambda start, stop: _judge(
            users, packed, n_items, judged, known.indptr, known.indices, hidden.indptr, hidden.indices, sums.start,
            sums.length, sums.items, sums.sums, sums.hidden_place, gammas, start, stop, discounts, quality,
        ),
        [(start, min(start + step, len(judged))) for start in range(0, len(judged), step)],
    )  # fmt: skip
    return quality
