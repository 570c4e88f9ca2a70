"""A fit: what it takes, what it refuses, and what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from play_matrices import N_ITEMS, N_USERS, blocks, plays
from scipy import sparse

from timbral.errors import (
    DataError,
    TimbralError,
    TrainingError,
)
from timbral.models.nmf_model import NMFModel


def test_gives_factors_of_the_promised_shapes(model: NMFModel) -> None:
    assert model.is_fitted
    assert (model.n_users, model.n_items) == (N_USERS, N_ITEMS)
    assert model.user_factors is not None
    assert model.item_factors is not None
    assert model.user_factors.shape == (N_USERS, 8)
    assert model.item_factors.shape == (8, N_ITEMS)
    assert model.user_factors.dtype == model.item_factors.dtype == np.float32
    assert model.user_factors.min() >= 0
    assert model.item_factors.min() >= 0
    assert len(model.training_history) == model.n_iter_ > 1


def test_finds_what_each_group_is_missing() -> None:
    model = NMFModel(8).fit(blocks())

    for user in (0, 16, 37, 59):
        items, scores = model.get_top_recommendations(user, 3)
        assert items[0] == user // 15 * 10 + user % 10
        assert scores[0] > 0.3


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_takes_any_sparse_form(matrix: sparse.csr_matrix, model: NMFModel, form: str) -> None:
    again = NMFModel(8).fit(matrix.asformat(form))

    np.testing.assert_array_equal(again.user_factors, model.user_factors)


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i8", ">i4", "u2", "f2"])
def test_takes_any_real_dtype(matrix: sparse.csr_matrix, dtype: str) -> None:
    few = matrix.minimum(2000)

    of_dense = NMFModel(4).fit(few.toarray().astype(dtype))
    of_floats = NMFModel(4).fit(few)

    np.testing.assert_array_equal(of_dense.user_factors, of_floats.user_factors)


def test_takes_bools_sparse_arrays_lists_and_dataframes(matrix: sparse.csr_matrix) -> None:
    ones = (matrix.toarray() > 0).astype(float)
    expected = NMFModel(4).fit(ones).user_factors
    frame = pd.DataFrame(ones, index=[f"u{u}" for u in range(N_USERS)])
    mixed = frame.astype({column: pd.SparseDtype(float, 0.0) for column in range(0, N_ITEMS, 2)})

    for other in (
        ones.astype(bool), sparse.csr_array(ones), ones.tolist(), frame, mixed,
        frame.astype(pd.SparseDtype(float, 0.0)), frame.astype(pd.SparseDtype(int, 0)), frame.astype(bool),
    ):  # fmt: skip
        np.testing.assert_array_equal(NMFModel(4).fit(other).user_factors, expected)


def test_sums_duplicates_and_drops_explicit_zeros_without_touching_the_input() -> None:
    rows, columns = np.array([0, 0, 1, 2, 2]), np.array([1, 1, 0, 2, 0])
    values = np.array([1.0, 2.0, 4.0, 5.0, 0.0])
    given = sparse.coo_matrix((values, (rows, columns)), shape=(3, 3)).tocsr()
    unsorted = sparse.csr_matrix((np.array([3.0, 1.0, 2.0, 4.0, 0.0]), [2, 1, 1, 0, 1], [0, 3, 4, 5]), shape=(3, 3))
    before = unsorted.copy()

    NMFModel(2).fit(given)
    model = NMFModel(2).fit(unsorted)

    assert model.n_interactions == 3
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(unsorted, name), getattr(before, name))


@pytest.mark.parametrize(
    ("value", "what"), [(-1.0, "a negative value"), (np.nan, "a NaN"), (np.inf, "an infinite value")]
)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.coo_array, sparse.csc_matrix, pd.DataFrame])
def test_a_bad_value_is_refused_with_its_place(value: float, what: str, form: Any) -> None:
    bad = np.ones((4, 5))
    bad[2, 3] = value

    with pytest.raises(DataError, match=rf"{what} \({value}\) at row 2, column 3") as caught:
        NMFModel(2).fit(form(bad))

    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (np.ones(3), "must be 2-D, got shape"),
        (np.ones((2, 2, 2)), "must be 2-D"),
        (np.zeros((0, 3)), r"is empty: its shape is \(0, 3\)"),
        (np.zeros((3, 0)), "is empty"),
        (np.zeros((3, 3)), "no value is above 0"),
        (pd.DataFrame(), "is empty"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.ones((2, 2)) * 1j, "real numbers"),
        (pd.DataFrame({"x": ["a"]}), "must hold numbers"),
        ([[1, 2], [3]], "must be an ndarray"),
        (np.full((2, 2), 1e300), "too large for 32-bit floats"),
        (None, "must be"),
    ],
)
def test_other_bad_data_are_refused(bad: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        NMFModel(2).fit(bad)


def test_a_sparse_matrix_whose_indices_lie_is_refused() -> None:
    bad = plays()
    bad.indices[3] = 10_000

    bad_pairs = plays().tocoo()
    bad_pairs.row[3] = -1

    for matrix in (bad, bad_pairs):
        with pytest.raises(DataError, match="not a valid sparse matrix"):
            NMFModel(2).fit(matrix)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 200)])
def test_more_factors_than_rows_or_columns_are_fine(shape: tuple[int, int]) -> None:
    model = NMFModel(16).fit(np.ones(shape))

    assert np.isfinite(model.predict([0], [0])).all()
    assert model.predict([0], [0])[0] > 0


def test_rows_and_columns_without_plays_get_zeros() -> None:
    data = plays().toarray()
    data[7] = 0
    data[:, 5] = 0

    model = NMFModel(4).fit(data)

    assert not model.get_user_embeddings([7]).any()
    assert not model.get_item_embeddings([5]).any()


def test_raw_plays_of_any_size_give_finite_factors() -> None:
    data = plays()
    data.data[:5] = [1e30, 1e-30, 3.5e5, 1e12, 1]

    for options in ({}, {"confidence": 0.0}):
        model = NMFModel(4, max_iter=20, **options).fit(data.minimum(1e12) if options else data)
        assert np.isfinite(model.get_user_embeddings(np.arange(N_USERS))).all()


def test_values_too_large_for_the_sums_are_a_training_error_and_leave_the_model_as_it_was() -> None:
    model = NMFModel(2).fit(np.ones((3, 3)))
    before = model.predict([0], [0])

    model.objective = NMFModel(confidence=0, unobserved_weight=1, regularization=0).objective
    with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
        model.fit(np.full((3, 3), 1e38))

    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, TimbralError)
    np.testing.assert_array_equal(model.predict([0], [0]), before)


def test_same_seed_same_bits_on_one_thread_and_two() -> None:
    data = plays(700, 600, 0.05)

    models = [NMFModel(12, 3, 6, n_threads=n).fit(data) for n in (1, 2, 2, 5)]

    for other in models[1:]:
        np.testing.assert_array_equal(other.user_factors, models[0].user_factors)
        np.testing.assert_array_equal(other.item_factors, models[0].item_factors)
        assert other.training_history == models[0].training_history
    assert (NMFModel(12, 4, 6).fit(data).user_factors != models[0].user_factors).any()


def test_the_callback_sees_each_sweep(matrix: sparse.csr_matrix) -> None:
    calls: list[tuple[int, int, float]] = []

    model = NMFModel(4, max_iter=7, tol=0).fit(matrix, callback=lambda *call: calls.append(call))

    assert [loss for _, _, loss in calls] == model.training_history
    assert all(limit == 7 for _, limit, _ in calls)
    assert [i for i, _, _ in calls] == sorted({i for i, _, _ in calls})


def test_a_callback_that_says_no_ends_the_training_and_leaves_the_model_as_it_was(matrix: sparse.csr_matrix) -> None:
    model = NMFModel(4)

    with pytest.raises(TrainingError, match="cancelled in sweep 2 of at most 200"):
        model.fit(matrix, callback=lambda iteration, limit, loss: iteration < 2)
    with pytest.raises(TrainingError, match="cancelled in sweep 1"):
        model.fit(matrix, callback=lambda *_: np.bool_(False))
    with pytest.raises(KeyError):
        model.fit(matrix, callback=lambda *call: {}["x"])

    assert not model.is_fitted


def test_stops_when_the_loss_no_longer_falls(matrix: sparse.csr_matrix) -> None:
    early, late = NMFModel(4, tol=1e-2).fit(matrix), NMFModel(4, tol=1e-5).fit(matrix)

    assert early.n_iter_ < late.n_iter_ < 200
    assert early.converged
    assert not NMFModel(4, max_iter=2).fit(matrix).converged
