"""How well the hidden rows are ranked, by factors with neighbours of several weights at once."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, int64

from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.top_k import top_k

__all__ = ["LENGTH", "judge"]

LENGTH: Final = 50
"""Of the lists that are judged: longer ones than people see tell the same from fewer users."""

USERS_PER_SPAN: Final = 50

Matrix = npt.NDArray[np.float32]


@kernel(
    matrix(float32), matrix(float32), vector(int64), vector(int64), vector(int32), vector(int64), vector(int32),
    vector(int64),
    vector(int32), vector(float32), vector(int64), vector(int32), matrix(float32), vector(float32), int64, int64,
    vector(float64),
    matrix(float64, writable=True), boundscheck=False,
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
    of those that no neighbour speaks for, as ``rest_scores`` has their scores. Which item is worth more than a hidden
    one, is counted.
    """
    n_items, n_kinds, k = len(item_rows), len(pair_weights), user_factors.shape[1]
    length = len(discounts)
    sums = np.zeros((n_kinds, n_items), np.float32)
    is_touched, is_known = np.zeros(n_items, np.bool_), np.zeros(n_items, np.bool_)
    touched, scores = np.empty(n_items, np.int32), np.empty(n_items, np.float32)
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
            item = hidden[entry]
            own = float32(0.0)
            for f in range(k):
                own += user_factors[place, f] * item_rows[item, f]
            for kind in range(n_kinds):
                for g in range(len(gammas)):
                    score = own + gammas[g] * sums[kind, item]
                    rank = 0
                    for other in range(rest_indptr[place], rest_indptr[place + 1]):
                        if rest_scores[other] > score or (rest_scores[other] == score and rest[other] < item):
                            rank += 1
                    for number in range(n_rivals):
                        theirs = scores[number] + gammas[g] * sums[kind, touched[number]]
                        if theirs > score or (theirs == score and touched[number] < item):
                            rank += 1
                    if rank < length:
                        quality[kind, g] += (1.0 / n_hidden + discounts[rank] / ideal) / 2.0
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
    threads: Threads,
) -> npt.NDArray[np.float64]:
    """The mean of recall and NDCG at ``LENGTH`` over the full ranking, for each of ``neighbors`` and each weight;
    float64 (kinds, weights).

    Args:
        user_factors: those of the judged users, (n, k).
        neighbors: all with the same pairs.
    """
    judged, known, hidden = part.judged, part.known, part.hidden
    first = neighbors[0]
    touched = _touched(known, judged, first)
    seen = known.as_csr()[judged]
    rest = top_k(
        user_factors, item_rows.T, LENGTH, seen=seen, blocked_by_user=touched.as_csr(), n_threads=threads.n_threads
    )
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


def _touched(known: SparseRows, judged: npt.NDArray[np.int64], neighbors: Neighbors) -> SparseRows:
    """For each judged user the items that a neighbour speaks for."""
    counts = np.diff(neighbors.indptr)
    indptr, rows = [0], []
    for user in judged.tolist():
        played = known.indices[known.indptr[user] : known.indptr[user + 1]]
        starts, lengths = neighbors.indptr[played], counts[played]
        places = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths) + np.arange(lengths.sum())
        rows.append(np.unique(neighbors.items[places]))
        indptr.append(indptr[-1] + len(rows[-1]))
    items = np.concatenate(rows) if rows else np.empty(0, np.int32)
    return SparseRows(np.asarray(indptr), items, np.ones(len(items), np.float32), neighbors.n_items)
