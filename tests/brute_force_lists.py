"""The lists that a search must find, by their definition: every score, and a sort."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from timbral.models.neighbors.counted_plays import counted
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.top_k import TopK

Array = np.ndarray


def neighbor_sums(neighbors: Neighbors, plays: sparse.csr_matrix) -> Array:
    """Σ x·v over the played items, float64 (n_users, n_items), in the order in which ``plays`` has them."""
    sums = np.zeros(plays.shape)
    counts = np.ones(plays.nnz)
    if neighbors.play_exponent:
        counts = counted(plays.indptr.astype(np.int64), plays.data, neighbors.play_exponent).astype(np.float64)
    for user in range(plays.shape[0]):
        for entry in range(plays.indptr[user], plays.indptr[user + 1]):
            played = plays.indices[entry]
            pairs = slice(neighbors.indptr[played], neighbors.indptr[played + 1])
            sums[user, neighbors.items[pairs]] += counts[entry] * neighbors.weights[pairs].astype(np.float64)
    return sums


def brute_force(
    users: Array,
    items: Array,
    k: int,
    *,
    recency: Array | None = None,
    neighbors: Neighbors | None = None,
    plays: sparse.csr_matrix | None = None,
    seen: sparse.csr_matrix | None = None,
    blocked: Any = None,
    blocked_by_user: sparse.csr_matrix | None = None,
    allowed: Any = None,
    allowed_by_user: sparse.csr_matrix | None = None,
) -> list[tuple[Array, Array]]:
    """The definition: every score, in float64 in the order of the components, then a stable sort."""
    totals = np.zeros((len(users), items.shape[1]))
    for component in range(len(items)):
        totals += users[:, component, None].astype(np.float64) * items[component].astype(np.float64)
    if recency is not None:
        totals += recency.astype(np.float64)
    if neighbors is not None and plays is not None:
        totals += neighbor_sums(neighbors, plays)
    scores = totals.astype(np.float32)
    possible = np.ones(scores.shape, bool)
    for ruled_out in (seen, blocked_by_user):
        if ruled_out is not None:
            for row in range(len(users)):
                possible[row, ruled_out[row].indices] = False
    if blocked is not None:
        possible[:, np.asarray(blocked, int)] = False
    if allowed is not None:
        possible &= np.isin(np.arange(items.shape[1]), np.asarray(allowed, int))
    if allowed_by_user is not None:
        for row in range(len(users)):
            possible[row] &= np.isin(np.arange(items.shape[1]), allowed_by_user[row].indices)
    lists = []
    for row in range(len(users)):
        left = np.flatnonzero(possible[row])
        best = left[np.argsort(-scores[row, left], kind="stable")][:k]
        lists.append((best, scores[row, best]))
    return lists


def assert_same(found: TopK, expected: list[tuple[Array, Array]]) -> None:
    assert len(found) == len(expected)
    for (items, scores), (expected_items, expected_scores) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(items, expected_items)
        np.testing.assert_array_equal(scores, expected_scores)  # bit for bit
