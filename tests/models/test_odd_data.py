"""Data of odd shapes train without a warning, and what comes out is a list of what is meant for the user, or none."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from timbral.models.nmf_model import NMFModel

Rng = np.random.Generator


def plays(rng: Rng, n_users: int, n_items: int, n_plays: int, skew: float = 0.5) -> sparse.csr_matrix:
    """1 where a user has played an item; the first items are the popular ones."""
    popularity = (np.arange(n_items) + 3.0) ** -skew
    drawn = rng.integers(0, n_users, n_plays), rng.choice(n_items, n_plays, p=popularity / popularity.sum())
    made = sparse.csr_matrix((np.ones(n_plays, np.float32), drawn), shape=(n_users, n_items))
    made.data[:] = 1.0
    return made


def with_values(values: Callable[[Rng, int], object]) -> Callable[[Rng], sparse.csr_matrix]:
    def made(rng: Rng) -> sparse.csr_matrix:
        matrix = plays(rng, 400, 300, 9_000)
        matrix.data[:] = values(rng, matrix.nnz)
        return matrix

    return made


def one_user_with_most(rng: Rng) -> sparse.csr_matrix:
    longest = sparse.csr_matrix(np.ones((1, 3_000), np.float32))
    return sparse.csr_matrix(sparse.vstack([longest, plays(rng, 300, 3_000, 6_000)]))


ODD: dict[str, Callable[[Rng], sparse.csr_matrix]] = {
    "two items": lambda rng: plays(rng, 4_000, 2, 7_000),
    "few users, many items": lambda rng: plays(rng, 120, 5_000, 8_000),
    "all users alike": lambda rng: sparse.csr_matrix(np.tile(np.arange(60) % 3 == 0, (400, 1)).astype(np.float32)),
    "every item twice": lambda rng: sparse.hstack([plays(rng, 400, 150, 6_000)] * 2, format="csr"),
    "everybody has played everything": lambda rng: sparse.csr_matrix(np.ones((700, 8), np.float32)),
    "nobody shares an item": lambda rng: sparse.identity(6_000, np.float32, format="csr"),
    "one user with most plays": one_user_with_most,
    "plays with a long tail": with_values(lambda rng, n: np.ceil(np.minimum(rng.pareto(0.5, n) + 1.0, 1e6))),
    "values of any size": with_values(lambda rng, n: 10.0 ** rng.uniform(-30, 30, n)),
    "ratings": with_values(lambda rng, n: rng.integers(1, 6, n)),
    "tenths": with_values(lambda rng, n: np.full(n, 0.1)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_data_give_finite_lists_of_known_and_of_new_users_and_reasons_that_add_up(name: str) -> None:
    matrix = ODD[name](np.random.default_rng(0))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = NMFModel(8, 0, n_threads=1).fit(matrix)
        lists, folded = model.recommend(top_k=5), model.recommend(plays=matrix, top_k=5)
        score = float(model.predict([0], [1])[0])
        reasons = model.explain(0, 1, top_k=model.n_items)[1]

    for found in (lists, folded):
        assert np.isfinite(found.scores).all()
        assert found.scores.min(initial=0.0) >= 0.0
    assert np.array_equal(np.diff(lists.indptr), np.minimum(5, matrix.shape[1] - np.diff(matrix.indptr)))
    assert float(reasons.sum()) == pytest.approx(score, rel=1e-3)


@pytest.mark.parametrize("sizes", [[(60, 50, 900)] * 10, [(800, 200, 8_000)] + [(20, 30, 200)] * 20])
def test_groups_that_share_no_item_are_recommended_nothing_of_each_other(sizes: list[tuple[int, int, int]]) -> None:
    rng = np.random.default_rng(0)
    matrix = sparse.block_diag([plays(rng, *size) for size in sizes], format="csr", dtype=np.float32)
    user_group, item_group = (np.repeat(np.arange(len(sizes)), [size[side] for size in sizes]) for side in (0, 1))

    model = NMFModel(len(sizes) + 10, 0, n_threads=1).fit(matrix)

    for found in (model.recommend(top_k=5), model.recommend(plays=matrix, top_k=5)):
        owner = np.repeat(user_group, np.diff(found.indptr))
        known = np.repeat(np.diff(matrix.indptr) > 0, np.diff(found.indptr))
        assert (owner == item_group[found.item_indices])[known].mean() > 0.99


@pytest.mark.parametrize("moment", [0, -1_700_000_000_000_000, 4 * 10**17])
def test_times_of_one_moment_choose_what_no_times_do(moment: int) -> None:
    matrix = plays(np.random.default_rng(0), 400, 300, 9_000)

    model = NMFModel(8, 0, n_threads=1).fit(matrix, times=np.full(matrix.nnz, moment))

    assert model.chosen_["recency_weight"] == 0.0
    assert model.recommend([0], top_k=5).scores.min() > 0.0
