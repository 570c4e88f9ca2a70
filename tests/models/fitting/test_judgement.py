"""What the choice is judged by is what lists would show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.models.engine.sparse_rows import read_rows
from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.fitting.judgement import LENGTH, judge
from timbral.models.fitting.neighbor_sums import NeighborSums
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.neighbors import Neighbors

GAMMAS = (0.0, 0.3, 2.0, 50.0)


@pytest.fixture(scope="module")
def part() -> HiddenPart:
    plays = sparse.random(300, 333, 0.12, "csr", rng=np.random.default_rng(0))
    found = HiddenPart.of(read_rows(plays, "plays"), None, np.random.default_rng(1))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def neighbors(part: HiddenPart) -> list[Neighbors]:
    with Threads(1) as threads:
        return Neighbors.fit(part.known, 10, [1.0, 3.0], 0, threads)


def factors(part: HiddenPart, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.random((len(part.judged), k), np.float32), rng.random((part.known.n_columns, k), np.float32)


def judged(part: HiddenPart, neighbors: list[Neighbors], users: np.ndarray, items: np.ndarray, n: int) -> np.ndarray:
    with Threads(n) as threads:
        sums = NeighborSums.of(part, neighbors, threads)
        return judge(users, items, part, sums, GAMMAS, threads).mean(axis=0)


def by_lists(part: HiddenPart, scores: np.ndarray) -> float:
    """The mean of recall and NDCG at LENGTH, of whole lists."""
    found = []
    for row, user in enumerate(part.judged):
        own = scores[row].copy()
        own[part.known.indices[part.known.indptr[user] : part.known.indptr[user + 1]]] = -np.inf
        hidden = part.hidden.indices[part.hidden.indptr[user] : part.hidden.indptr[user + 1]]
        places = np.flatnonzero(np.isin(np.argsort(-own, kind="stable")[:LENGTH], hidden))
        discounts = 1.0 / np.log2(np.arange(LENGTH) + 2.0)
        ideal = discounts[: len(hidden)].sum()
        found.append((len(places) / len(hidden) + discounts[places].sum() / ideal) / 2)
    return float(np.mean(found))


def test_each_weight_is_judged_as_whole_lists_are(part: HiddenPart, neighbors: list[Neighbors]) -> None:
    users, items = factors(part)
    known = part.known.as_csr()[part.judged]
    played = sparse.csr_matrix((np.ones(known.nnz), known.indices, known.indptr), known.shape)

    quality = judged(part, neighbors, users, items, 1)

    for line, kind in zip(quality, neighbors, strict=True):
        pairs = sparse.csr_matrix((kind.weights, kind.items, kind.indptr), shape=(kind.n_items, kind.n_items))
        sums = (played @ pairs).toarray()
        for gamma, found in zip(GAMMAS, line, strict=True):
            assert found == pytest.approx(by_lists(part, users @ items.T + gamma * sums), rel=1e-3)
    assert len(np.unique(quality)) == 2 * len(GAMMAS) - 1  # they differ, but where nothing is added


def test_without_neighbours_the_factors_alone_are_judged(part: HiddenPart) -> None:
    users, items = factors(part)

    quality = judged(part, [Neighbors.none(part.known.n_columns)], users, items, 1)

    assert quality[0] == pytest.approx(by_lists(part, users @ items.T), rel=1e-3)


def test_equal_scores_are_no_merit(part: HiddenPart) -> None:
    # given: factors that tell nothing
    users, items = factors(part)

    quality = judged(part, [Neighbors.none(part.known.n_columns)], np.zeros_like(users), items, 1)

    assert quality.max() == 0.0


def test_any_number_of_threads_judges_the_same(part: HiddenPart, neighbors: list[Neighbors]) -> None:
    users, items = factors(part)

    assert np.array_equal(judged(part, neighbors, users, items, 1), judged(part, neighbors, users, items, 3))
