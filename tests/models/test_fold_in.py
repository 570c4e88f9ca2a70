"""Folding in: what the training itself would have converged to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from play_matrices import N_ITEMS, plays
from scipy import sparse

from timbral.errors import (
    DataError,
)
from timbral.models.nmf_model import NMFModel


def test_is_what_the_training_converged_to() -> None:
    data = plays(200, 150, 0.1)
    model = NMFModel(6, tol=1e-7, max_iter=2000).fit(data)

    np.testing.assert_allclose(model.fold_in(data), model.user_factors, atol=0.02)
    np.testing.assert_allclose(model.fold_in_items(data.T), model.get_item_embeddings(range(150)), atol=0.02)


def test_is_a_minimum_of_the_users_loss(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    """Against an independent solver, scipy's NNLS of the dense weighted problem."""
    from scipy.optimize import nnls

    items = model.get_item_embeddings(range(N_ITEMS)).astype(np.float64)
    weighting = model._weighting
    assert weighting is not None
    side = weighting.users_side(_rows_of(matrix))
    for user in (0, 11, 29):
        weights = weighting.item_weights.astype(np.float64).copy()
        target = np.full(N_ITEMS, weighting.unobserved_target)
        own = slice(matrix.indptr[user], matrix.indptr[user + 1])
        weights[matrix.indices[own]] = side.confidence[own]
        target[matrix.indices[own]] = side.target[own]
        root = np.sqrt(weights)
        system = np.vstack([root[:, None] * items, np.sqrt(side.l2[user]) * np.eye(8)])
        expected, _ = nnls(system, np.concatenate([root * target, np.zeros(8)]))

        np.testing.assert_allclose(model.fold_in(matrix[user])[0], expected, atol=1e-3)


def test_nobody_and_nothing_played_give_zeros(model: NMFModel) -> None:
    assert not model.fold_in(np.zeros((2, N_ITEMS))).any()


def test_does_not_depend_on_the_company(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    together = model.fold_in(matrix)

    np.testing.assert_array_equal(model.fold_in(matrix[17]), together[17:18])


def test_another_number_of_items_is_refused(model: NMFModel) -> None:
    with pytest.raises(DataError, match="user_items must have 40 columns"):
        model.fold_in(np.ones((1, 39)))
    with pytest.raises(DataError, match="users_per_item must have 50 columns"):
        model.fold_in_items(np.ones((1, 39)))


def test_folding_in_finds_what_the_training_found_and_the_loss_is_never_negative() -> None:
    rng = np.random.default_rng(0)
    data = (rng.random((60, 3)) @ rng.random((3, 25))).astype(np.float32)
    model = NMFModel(20, 0, 500, 1e-7, unobserved_weight=1, confidence=0, regularization=0).fit(data)

    folded = model.fold_in(data) @ model.item_factors

    trained = float(np.square(model.user_factors @ model.item_factors - data).sum())
    assert float(np.square(folded - data).sum()) < 2 * trained + 1e-3
    assert min(model.training_history) >= 0


def _rows_of(matrix: sparse.csr_matrix) -> Any:
    from timbral.models.engine.sparse_rows import read_rows

    return read_rows(matrix, "matrix")
