"""How well the hidden rows are ranked, by factors with neighbours of several weights at once."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, int64
from scipy import sparse

from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.top_k import top_k

__all__ = ["LENGTH", "judge", "touched_by"]

LENGTH: Final = 50
"""Of the lists that are judged: longer ones than people see tell the same from fewer users."""

USERS_PER_SPAN: Final = 50

Matrix = npt.NDArray[np.float32]


@kernel(
    matrix(float32), matrix(float32), vector(int64), vector(int64), vector(int32), vector(int64), vector(int32),
    vector(int64),
    vector(int32), vector(float32), vector(int64), vector(int32), matrix(float32), vector(float32), int64, int64,
    vector(float64),
    matrix(float64, writable=True), boundscheck=False, fastmath={"reassoc", "contract"},
)  # fmt: skip
def _judge(  # type: ignore[no-untyped-def]
    user_factors, item_rows, judged, known_indptr, known, hidden_indptr, hidden, rest_indptr, rest, rest_scores,
    pair_indptr,
    pair_items, pair_weights, gammas, start, stop, discounts, quality,
):  # fmt: skip
    """Adds to ``quality[m, g]`` the mean of recall and NDCG of the users ``judged[start:stop]``, with weights
    ``pair_weights[m]`` times ``gammas[g]``.

    ``user_factors`` is by the judged users' places, ``known`` and ``hidden`` by users; ``rest`` has for each judged
    user the best items
    of those that no neighbour speaks for, as ``rest_scores`` has their scores.
    """
    n_items, n_kinds, k = len(item_rows), len(pair_weights), user_factors.shape[1]
    length = len(discounts)
    sums = np.zeros((n_kinds, n_items), np.float32)
    is_touched, is_known = np.zeros(n_items, np.bool_), np.zeros(n_items, np.bool_)
    touched, scores = np.empty(n_items, np.int32), np.empty(n_items, np.float32)
    is_hidden = np.zeros(n_items, np.bool_)
    best, best_scores = np.empty(length, np.int32), np.empty(length, np.float32)
    for place in range(start, stop):
        user = judged[place]
        n_touched = 0
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            is_known[known[entry]] = True
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            for pair in range(pair_indptr[known[entry]], pair_indptr[known[entry] + 1]):
                item = pair_items[pair]
                if not is_touched[item]:
                    is_touched[item] = True
                    touched[n_touched] = item
                    n_touched += 1
                for kind in range(n_kinds):
                    sums[kind, item] += pair_weights[kind, pair]
        n_rivals = 0
        for number in range(n_touched):
            item = touched[number]
            if not is_known[item]:
                touched[n_rivals], touched[number] = item, touched[n_rivals]
                score = float32(0.0)
                for f in range(k):
                    score += user_factors[place, f] * item_rows[item, f]
                scores[n_rivals] = score
                n_rivals += 1
        n_hidden = hidden_indptr[user + 1] - hidden_indptr[user]
        ideal = 0.0
        for rank in range(min(n_hidden, length)):
            ideal += discounts[rank]
        for entry in range(hidden_indptr[user], hidden_indptr[user + 1]):
            is_hidden[hidden[entry]] = True
        for kind in range(n_kinds):
            for g in range(len(gammas)):
                size = 0
                for other in range(rest_indptr[place], rest_indptr[place + 1]):
                    size = offer(best_scores, best, size, rest_scores[other], rest[other])
                for number in range(n_rivals):
                    score = scores[number] + gammas[g] * sums[kind, touched[number]]
                    if size < length or score >= best_scores[0]:
                        size = offer(best_scores, best, size, score, touched[number])
                sort_best_first(best_scores, best, size)
                for rank in range(size):
                    if is_hidden[best[rank]]:
                        quality[kind, g] += (1.0 / n_hidden + discounts[rank] / ideal) / 2.0
        for entry in range(hidden_indptr[user], hidden_indptr[user + 1]):
            is_hidden[hidden[entry]] = False
        for number in range(n_touched):
            is_touched[touched[number]] = False
            for kind in range(n_kinds):
                sums[kind, touched[number]] = 0.0
        for entry in range(known_indptr[user], known_indptr[user + 1]):
            is_known[known[entry]] = False


def judge(
    user_factors: Matrix,
    item_rows: Matrix,
    part: HiddenPart,
    neighbors: list[Neighbors],
    gammas: npt.ArrayLike,
    touched: sparse.csr_matrix,
    threads: Threads,
) -> npt.NDArray[np.float64]:
    """The mean of recall and NDCG at ``LENGTH`` over the full ranking, for each of ``neighbors`` and each weight;
    float64 (kinds, weights).

    Args:
        user_factors: those of the judged users, (n, k).
        neighbors: all with the same pairs.
        touched: what ``touched_by`` says of them; it is the same for all factors.
    """
    judged, known, hidden = part.judged, part.known, part.hidden
    first = neighbors[0]
    seen = known.as_csr()[judged]
    rest = top_k(user_factors, item_rows.T, LENGTH, seen=seen, blocked_by_user=touched, n_threads=threads.n_threads)
    weights = np.stack([kind.weights for kind in neighbors])
    gammas = np.asarray(gammas, dtype=np.float32)
    discounts = 1.0 / np.log2(np.arange(2.0, LENGTH + 2.0))
    spans = [(start, min(start + USERS_PER_SPAN, len(judged))) for start in range(0, len(judged), USERS_PER_SPAN)]
    parts = np.zeros((len(spans), len(neighbors), len(gammas)))

    def judge_span(start: int, stop: int) -> None:
        _judge(
            user_factors, item_rows, judged, known.indptr, known.indices, hidden.indptr, hidden.indices, rest.indptr,
            rest.item_indices, rest.scores, first.indptr, first.items, weights, gammas, start, stop, discounts,
            parts[start // USERS_PER_SPAN],
        )  # fmt: skip

    threads.run(judge_span, spans)
    return np.asarray(parts.sum(axis=0) / len(judged))


def touched_by(part: HiddenPart, neighbors: Neighbors) -> sparse.csr_matrix:
    """For each judged user the items that a neighbour speaks for: CSR (n_judged, n_items), whose values say nothing."""
    n_items = neighbors.n_items
    ones = np.ones(len(neighbors.items), np.float32)
    pairs = sparse.csr_matrix((ones, neighbors.items, neighbors.indptr), shape=(n_items, n_items))
    known = part.known.as_csr()[part.judged]
    played = sparse.csr_matrix((np.ones(known.nnz, np.float32), known.indices, known.indptr), shape=known.shape)
    touched = sparse.csr_matrix(played @ pairs)
    touched.sort_indices()
    return touched
