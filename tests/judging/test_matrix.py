"""What a model is judged by goes through the checks of what it is fitted to: no form of a matrix gives plausible wrong
numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.data.interactions import Interactions
from timbral.errors import DataError, ParameterError
from timbral.judging.hold_out import hold_out, hold_out_by_id, hold_out_last
from timbral.judging.matrix import read_matrix
from timbral.judging.popularity import popularity_ranking
from timbral.models.nmf_model import NMFModel
from timbral.utils.data_loader import DataLoader
from timbral.utils.evaluation import EvaluationMetrics

RNG = np.random.default_rng(0)
DENSE = ((RNG.random((30, 30)) < 0.3) * RNG.integers(1, 6, (30, 30))).astype(np.float32)
CSR = sparse.csr_matrix(DENSE)
"""Square, so that a transpose would go unnoticed by its shape."""


def with_duplicates() -> sparse.csr_matrix:
    """Each entry in two halves, in the same place."""
    indices, data = np.repeat(CSR.indices, 2), np.repeat(CSR.data / 2, 2)
    return sparse.csr_matrix((data, indices, CSR.indptr * 2), shape=CSR.shape)


def unsorted() -> sparse.csr_matrix:
    made = CSR.copy()
    for row in range(30):
        part = slice(made.indptr[row], made.indptr[row + 1])
        made.indices[part], made.data[part] = made.indices[part][::-1].copy(), made.data[part][::-1].copy()
    made.has_sorted_indices = False
    return made


def with_zeros() -> sparse.csr_matrix:
    """Stored zeros in some of the empty places."""
    rows, columns = np.nonzero(DENSE + (RNG.random((30, 30)) < 0.1))
    return sparse.csr_matrix((DENSE[rows, columns], (rows, columns)), shape=(30, 30))


def as_interactions() -> Interactions:
    return Interactions(CSR, IdIndex(list(range(30))), IdIndex(list(range(30))), None, CSR.nnz)


FORMS: dict[str, Any] = {
    "csc": CSR.tocsc(),
    "coo": CSR.tocoo(),
    "csr_array": sparse.csr_array(CSR),
    "duplicates": with_duplicates(),
    "unsorted": unsorted(),
    "stored zeros": with_zeros(),
    "ndarray": DENSE,
    "DataFrame": pd.DataFrame(DENSE),
    "sparse DataFrame": pd.DataFrame.sparse.from_spmatrix(CSR),
    "big-endian": DENSE.astype(">f4"),
    "masked": np.ma.masked_array(np.where(DENSE == 0, 7.0, DENSE), DENSE == 0),
    "Interactions": as_interactions(),
}
forms = pytest.mark.parametrize("form", FORMS)


@forms
def test_every_form_is_read_as_the_same_matrix(form: str) -> None:
    read = read_matrix(FORMS[form], "plays")

    assert read.has_canonical_format
    assert read.data.all()
    assert np.array_equal(read.toarray(), DENSE)


@forms
def test_a_split_of_every_form_is_the_same(form: str) -> None:
    expected = hold_out(CSR, 0.3, 5)

    found = hold_out(FORMS[form], 0.3, 5)

    for part, wanted in zip(found, expected, strict=True):
        assert np.array_equal(part.toarray(), wanted.toarray())
    ids = IdIndex(list(range(30)))
    by_id = hold_out_by_id(FORMS[form], ids, ids, 0.3)[1]
    assert np.array_equal(by_id.toarray(), hold_out_by_id(CSR, ids, ids, 0.3)[1].toarray())


@forms
def test_metrics_of_every_form_are_the_same(form: str) -> None:
    train, held_out = hold_out(CSR, 0.3, 1)
    ranking = popularity_ranking(train, 5)
    expected = EvaluationMetrics().evaluate_ranking(ranking, CSR, 5, train_csr=CSR)

    found = EvaluationMetrics().evaluate_ranking(ranking, FORMS[form], 5, train_csr=FORMS[form])

    assert found == pytest.approx(expected)
    assert np.array_equal(popularity_ranking(FORMS[form], 4).item_indices, popularity_ranking(CSR, 4).item_indices)
    model = NMFModel(3, 0, 5, n_neighbors=0, n_threads=1).fit(train)
    judged = EvaluationMetrics().evaluate(model, held_out, FORMS[form], 5)
    assert judged == pytest.approx(EvaluationMetrics().evaluate(model, held_out, CSR, 5))


@forms
def test_a_fit_to_every_form_is_the_same(form: str) -> None:
    options: dict[str, Any] = {"n_neighbors": 0, "regularization": 0.5, "n_threads": 1}
    expected = NMFModel(3, 0, 5, **options).fit(CSR)

    assert np.allclose(NMFModel(3, 0, 5, **options).fit(FORMS[form]).user_factors, expected.user_factors, atol=1e-6)


TABLES = [
    pd.DataFrame({"user_id": [1, 2], "item_id": [5, 6], "rating": [1.0, 2.0]}),
    pd.DataFrame({"userID": [1, 2], "artistID": [5, 6], "weight": [3, 4]}),
    pd.DataFrame({"userId": [1, 2], "movieId": [5, 6], "rating": [3, 4], "timestamp": [1, 2]}),
    pd.DataFrame({"customer": [1, 2], "product_id": [5, 6]}),
    pd.DataFrame({"user": [1, 2], "song": [5, 6], "play_count": [3, 4]}),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: " ".join(table.columns))
def test_a_table_of_interactions_is_refused_and_told_what_to_call(table: pd.DataFrame) -> None:
    user, item = table.columns[:2]
    calls = [
        lambda: NMFModel(2).fit(table),
        lambda: hold_out(table, 0.2, 0),
        lambda: EvaluationMetrics().evaluate_ranking(np.zeros((2, 1), int), table, 1),
        lambda: popularity_ranking(table, 1),
    ]
    for call in calls:
        with pytest.raises(DataError, match="table of interactions") as caught:
            call()
        assert f"create_user_item_matrix(interactions_df, user_col={user!r}, item_col={item!r})" in str(caught.value)
        assert "load_csr" in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"user_id": [1, 2], "item_id": [5, 6], "rating": [1.0, 2.0]}),
        np.zeros(2, dtype=[("user_id", "i8"), ("item_id", "i8"), ("rating", "f4")]),
    ],
    ids=["arrow", "numpy's fields"],
)
def test_no_table_of_another_library_is_taken_for_a_matrix(table: Any) -> None:
    with pytest.raises(DataError, match="is a table of interactions"):
        read_matrix(table, "plays")
    with pytest.raises(DataError, match=r"must be a pandas DataFrame, got (pyarrow\.Table: its to_pandas|numpy\.nd)"):
        DataLoader().create_user_item_matrix(table)


def test_the_call_that_the_error_names_works() -> None:
    frame = DataLoader().create_user_item_matrix(TABLES[1], user_col="userID", item_col="artistID", value_col="weight")

    assert NMFModel(1, n_threads=1).fit(frame).n_interactions == 2


def test_a_matrix_whose_items_are_called_like_columns_is_a_matrix() -> None:
    frame = pd.DataFrame(DENSE[:, :3], columns=["track_1", "artist", "song"])

    assert read_matrix(frame, "plays").shape == (30, 3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (-CSR, "negative"),
        (CSR * np.float32("nan"), "NaN"),
        (np.zeros(3), "2-D"),
        (np.zeros((0, 3)), "empty"),
        (np.array([["a"]]), "numbers"),
    ],
)
def test_what_a_fit_refuses_no_metric_takes(wrong: Any, said: str) -> None:
    for call in (
        lambda: hold_out(wrong, 0.2, 0),
        lambda: EvaluationMetrics().evaluate_ranking(np.zeros((1, 1), int), wrong, 1),
        lambda: popularity_ranking(wrong, 1),
        lambda: NMFModel(2).fit(wrong),
    ):
        with pytest.raises(DataError, match=said):
            call()


def test_small_integers_in_the_same_place_do_not_wrap_around() -> None:
    coo = sparse.coo_matrix((np.full(3, 100, np.int8), ([0, 0, 0], [1, 1, 1])), shape=(1, 2))

    assert read_matrix(coo, "plays").toarray().tolist() == [[0, 300]]


def test_times_follow_their_entries_into_the_order_of_a_sorted_matrix() -> None:
    times = np.arange(CSR.nnz)
    shuffled = unsorted()
    theirs = np.concatenate([times[CSR.indptr[row] : CSR.indptr[row + 1]][::-1] for row in range(30)])

    found = hold_out(shuffled, 0.3, 0, theirs)[1]

    assert np.array_equal(found.toarray(), hold_out(CSR, 0.3, 0, times)[1].toarray())
    zeros = with_zeros()
    last = hold_out_last(zeros, np.arange(zeros.nnz), 0)[1]
    assert np.array_equal(last.toarray(), hold_out_last(CSR, times, 0)[1].toarray())


@pytest.mark.parametrize("form", ["csc", "coo", "DataFrame", "duplicates"])
def test_times_of_a_matrix_without_an_order_of_entries_are_refused(form: str) -> None:
    times = np.arange(2 * CSR.nnz if form == "duplicates" else CSR.nnz)

    with pytest.raises(ParameterError, match="with times"):
        hold_out(FORMS[form], 0.3, 0, times)


def test_a_model_of_another_width_and_lists_of_nobody_in_particular_are_refused() -> None:
    model = NMFModel(2, 0, 5, n_neighbors=0, n_threads=1).fit(CSR[:, :20])
    judge = EvaluationMetrics()

    with pytest.raises(ParameterError, match=r"fitted to \(30, 20\)"):
        judge.evaluate(model, CSR)
    with pytest.raises(ParameterError, match="2 lists, 30 users"):
        judge.evaluate_ranking(np.zeros((2, 1), int), CSR, 1)
    with pytest.raises(ParameterError, match="matrix rows"):
        judge.evaluate_ranking(np.zeros((2, 1), int), CSR, 1, user_ids=[0.0, 1.0])
