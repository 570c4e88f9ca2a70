"""A fit that starts from an earlier model's factors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from timbral.errors import DataError
from timbral.models.fitting.warm_start import KnownFactors
from timbral.models.nmf_model import NMFModel

N_USERS, N_ITEMS = 1500, 500


def plays() -> sparse.csr_matrix:
    """Users of 12 genres, who now and then play something else."""
    rng = np.random.default_rng(3)
    genre, of_item = rng.integers(0, 12, N_USERS), rng.integers(0, 12, N_ITEMS)
    chance = np.where(genre[:, None] == of_item[None, :], 0.25, 0.01) * rng.uniform(0.3, 1.5, N_ITEMS)
    return sparse.csr_matrix((rng.random((N_USERS, N_ITEMS)) < chance) * rng.integers(1, 30, (N_USERS, N_ITEMS)))


def without_some(matrix: sparse.csr_matrix, share: float, n_new_users: int, n_new_items: int) -> sparse.csr_matrix:
    """As it was before the last plays, users and items came."""
    before = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    before.data[np.random.default_rng(1).random(before.nnz) < share] = 0
    before = before[: N_USERS - n_new_users, : N_ITEMS - n_new_items]
    before.eliminate_zeros()
    return before


def known(model: NMFModel, n_users: int, n_items: int) -> KnownFactors:
    def padded(factors: npt.NDArray[np.float32], n: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        rest = n - len(factors)
        rows = np.vstack([factors, np.full((rest, factors.shape[1]), 7, np.float32)])
        return rows, np.arange(n) < len(factors)

    user, knows_user = padded(model._users(), n_users)
    item, knows_item = padded(model._items(), n_items)
    return KnownFactors(user, item, knows_user, knows_item)


def test_after_2_percent_new_plays_half_of_the_sweeps_are_enough() -> None:
    # given: a model of the plays, of which 2 % are new since, with 20 users and 5 items that it does not know
    now = plays().astype(np.float32)
    live = NMFModel(16, 0, n_threads=1, regularization=0.3, n_neighbors=0).fit(without_some(now, 0.02, 20, 5))
    cold = NMFModel(16, 0, n_threads=1, regularization=0.3, n_neighbors=0).fit(now)

    # when
    warm = NMFModel(16, 0, n_threads=1, regularization=0.3, n_neighbors=0)
    warm.fit(now, known=known(live, N_USERS, N_ITEMS))

    # then
    reached = np.flatnonzero(np.array(warm.training_history) <= cold.training_history[-1] * (1 + 1e-3))
    print(cold.n_iter_, warm.n_iter_, cold.training_history[-1], warm.training_history)
    assert len(reached), "it comes as far"
    assert reached[0] + 1 <= cold.n_iter_ / 2
    assert warm.training_history[-1] <= cold.training_history[-1] * (1 + 1e-3)
    for mine, theirs in ((warm._users(), cold._users()), (warm._items(), cold._items())):
        np.testing.assert_array_equal(mine.any(axis=1), theirs.any(axis=1))  # what is new has factors, too


def test_factors_that_are_none_of_the_data_are_refused_and_the_model_stays() -> None:
    matrix = plays().astype(np.float32)
    live = NMFModel(4, 0, 3, n_threads=1, regularization=0.3, n_neighbors=0).fit(matrix)
    fit_here = known(live, N_USERS, N_ITEMS)
    bad = fit_here.user.copy()
    bad[0, 0] = -1

    for wrong, problem in (
        (known(live, N_USERS, N_ITEMS + 1), "shapes"),
        (KnownFactors(bad, fit_here.item, fit_here.knows_user, fit_here.knows_item), "not negative"),
    ):
        model = NMFModel(4, 0, 3, n_threads=1)
        with pytest.raises(DataError, match=problem):
            model.fit(matrix, known=wrong)
        assert not model.is_fitted
