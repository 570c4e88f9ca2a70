"""Whether an explanation tells what the score hangs on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from timbral.models.nmf_model import NMFModel

N_GENRES, ITEMS_EACH = 6, 20


def listening(n_users: int = 400, seed: int = 0) -> sparse.csr_matrix:
    """Each user plays 6 items of each of two genres, and 4 of any, once to thirty times."""
    rng = np.random.default_rng(seed)
    plays = np.zeros((n_users, N_GENRES * ITEMS_EACH), dtype=np.float32)
    for user in range(n_users):
        for genre in rng.permutation(N_GENRES)[:2]:
            plays[user, genre * ITEMS_EACH + rng.permutation(ITEMS_EACH)[:6]] = rng.integers(1, 30, 6)
        plays[user, rng.integers(plays.shape[1], size=4)] += 1
    return sparse.csr_matrix(plays)


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    return listening()


@pytest.fixture(scope="module")
def model(matrix: sparse.csr_matrix) -> NMFModel:
    return NMFModel(12, 1, regularization=0.5, n_neighbors=0, n_threads=1).fit(matrix)


def falls(model: NMFModel, row: sparse.csr_matrix, item: int) -> npt.NDArray[np.float32]:
    """How far the item's score falls without each entry of ``row``, folded in again."""
    without = np.repeat(row.toarray(), row.nnz + 1, axis=0)
    without[np.arange(1, row.nnz + 1), row.indices] = 0
    scores = model.fold_in(without) @ model.get_item_embeddings([item])[0]
    return scores[0] - scores[1:]


def parts_of(model: NMFModel, user: int, item: int) -> npt.NDArray[np.float32]:
    items, parts = model.explain(user, item, model.n_items)
    filled = np.zeros(model.n_items, dtype=np.float32)
    filled[items] = parts
    return filled


def test_contributions_rank_as_the_score_falls_without_each_item(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    from scipy.stats import spearmanr  # here: each process that collects the tests would take a second for it

    agreements = []
    for user in range(40):
        item = int(model.get_top_recommendations(user, 1)[0][0])
        row = matrix[user]

        agreements.append(spearmanr(parts_of(model, user, item)[row.indices], falls(model, row, item)).statistic)

    assert np.mean(agreements) > 0.85


def test_contributions_are_in_proportion_to_the_falls() -> None:
    # Only where λ and the weights stay what they were without an entry, and no factor comes or goes, the formula is
    # exact.
    matrix = listening(seed=1)
    model = NMFModel(
        3,
        1,
        200,
        1e-9,
        confidence=0.0,
        target="one",
        regularization=0.2,
        regularization_exponent=0.0,
        n_neighbors=0,
        n_threads=1,
    ).fit(matrix)
    exact = 0
    for user in range(60):
        item = int(model.get_top_recommendations(user, 1)[0][0])
        row = matrix[user]
        without = np.repeat(row.toarray(), row.nnz + 1, axis=0)
        without[np.arange(1, row.nnz + 1), row.indices] = 0
        if not (model.fold_in(without) > 0).all():
            continue
        exact += 1
        wanted = np.maximum(falls(model, row, item), 0)

        found = parts_of(model, user, item)[row.indices]

        np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), atol=2e-3)
    assert exact >= 10


def test_the_genre_of_the_item_explains_it(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    hits, chances = [], []
    for user in range(100):
        item = int(model.get_top_recommendations(user, 1)[0][0])
        same = matrix[user].indices // ITEMS_EACH == item // ITEMS_EACH
        if same.any():
            chances.append(same.mean())
            hits.append(model.explain(user, item, 1)[0][0] // ITEMS_EACH == item // ITEMS_EACH)

    assert np.mean(chances) < 0.6
    assert np.mean(hits) > 0.95


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unobserved_target": 0.0},
        {"unobserved_weight": 1.0, "confidence": 0.0, "regularization": 0.0},
        {"regularization": 0.0},
        {"l1_regularization": 0.5},
        {"target": "log"},
        {"neighbor_weight": 0.7},
        {"neighbor_weight": 0.7, "regularization": 2.0},
    ],
)
def test_contributions_add_up_whatever_the_objective(matrix: sparse.csr_matrix, options: dict[str, float]) -> None:
    model = NMFModel(12, 1, 20, n_threads=1, **options).fit(matrix)

    for user in range(20):
        for item in (0, 45, int(model.get_top_recommendations(user, 1)[0][0])):
            items, parts = model.explain(user, item, model.n_items)

            assert set(items.tolist()) <= set(matrix[user].indices.tolist())
            assert (parts > 0).all()
            assert parts.sum() == pytest.approx(model.predict([user], [item])[0], rel=1e-4, abs=1e-7)


def test_who_played_nothing_and_what_nobody_played_have_no_explanation(matrix: sparse.csr_matrix) -> None:
    plays = matrix.toarray()
    plays[3], plays[:, 7] = 0, 0
    model = NMFModel(6, 1, n_threads=1).fit(plays)

    assert len(model.explain(3, 0)[0]) == 0
    assert len(model.explain(0, 7)[0]) == 0
