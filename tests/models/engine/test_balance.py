"""Sharing a factor's length between users and items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from timbral.models.engine import factorization
from timbral.models.engine.balance import balance, squares
from timbral.models.kernels.threads import Threads
from timbral.models.nmf_model import NMFModel

ONE = Threads(1)


@given(st.integers(0, 2**16), st.integers(1, 8))
def test_lowers_the_regularisation_by_what_it_says_and_no_scale_lowers_it_more(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    user, item = (rng.random((n, k), dtype=np.float32) * 10.0 ** rng.integers(-3, 3, k) for n in (7, 5))
    user_l2, item_l2 = (rng.random(n, dtype=np.float32) + 0.1 for n in (7, 5))
    user, item = user.astype(np.float32), item.astype(np.float32)
    before = squares(user_l2, user, ONE)[0], squares(item_l2, item, ONE)[0]

    scale, gain = balance(*before)

    after = (
        squares(user_l2, (user * scale).astype(np.float32), ONE)[0],
        squares(item_l2, (item / scale).astype(np.float32), ONE)[0],
    )
    assert np.isclose(np.sum(before) - np.sum(after), gain, rtol=1e-3, atol=1e-5 * np.sum(before))
    np.testing.assert_allclose(after[0], after[1], rtol=1e-4)
    for other in (0.9, 1.1):
        worse = before[0] * (other * scale) ** 2 + before[1] / (other * scale) ** 2
        assert (worse >= (after[0] + after[1]) * (1 - 1e-4)).all()


def test_leaves_factors_alone_that_one_side_has_not() -> None:
    scale, gain = balance(np.array([0.0, 2.0, 4.0]), np.array([3.0, 0.0, 4.0]))

    np.testing.assert_array_equal(scale, 1.0)
    assert gain == 0.0


def test_a_training_that_is_strongly_regularised_needs_fewer_sweeps_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    taste = rng.gamma(0.3, size=(400, 6)) @ rng.gamma(0.3, size=(6, 200))
    matrix = sparse.csr_matrix(rng.poisson(20 * taste / taste.sum(axis=1, keepdims=True)).astype(np.float32))

    def sweeps() -> NMFModel:
        return NMFModel(12, 0, 100, 1e-4, regularization=1.0, n_neighbors=0, n_threads=1).fit(matrix)

    balanced = sweeps()
    monkeypatch.setattr(factorization, "balance", lambda users, _: (np.ones(len(users)), 0.0))
    unbalanced = sweeps()

    assert balanced.n_iter_ < unbalanced.n_iter_
    assert balanced.training_history[-1] < unbalanced.training_history[-1] * 1.001
