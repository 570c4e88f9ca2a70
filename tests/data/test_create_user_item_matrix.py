from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from timbral.errors import DataError, MissingColumnsError, ParameterError
from timbral.utils.data_loader import DataLoader


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"user_id": [7, 5, 7, 7], "item_id": [30, 10, 30, 20], "rating": [1.5, 2.0, 3.0, 0.1]} | columns
    )


def test_users_are_rows_and_items_are_columns_and_repeated_rows_add_up() -> None:
    matrix = DataLoader().create_user_item_matrix(frame())

    assert matrix.index.tolist() == [5, 7]
    assert matrix.columns.tolist() == [10, 20, 30]
    assert matrix.to_numpy().tolist() == [[2.0, 0.0, 0.0], [0.0, 0.1, 4.5]]
    assert matrix.loc[7, 30] == 4.5


def test_the_columns_are_sparse_floats() -> None:
    matrix = DataLoader().create_user_item_matrix(frame())

    assert all(dtype == pd.SparseDtype("float64", 0.0) for dtype in matrix.dtypes)
    assert matrix.sparse.to_coo().nnz == 3


def test_the_four_mappings_are_set() -> None:
    loader = DataLoader()
    assert loader.user_to_idx == loader.item_to_idx == loader.idx_to_user == loader.idx_to_item == {}

    loader.create_user_item_matrix(frame(item_id=["b", "ä", "b", "a"]))

    assert loader.user_to_idx == {5: 0, 7: 1}
    assert loader.idx_to_user == {0: 5, 1: 7}
    assert loader.item_to_idx == {"a": 0, "b": 1, "ä": 2}
    assert loader.idx_to_item == {0: "a", 1: "b", 2: "ä"}
    assert {type(key) for key in [*loader.user_to_idx, *loader.idx_to_item]} == {int}


def test_other_column_names() -> None:
    table = frame().rename(columns={"user_id": "who", "item_id": "what", "rating": "plays"})

    assert DataLoader().create_user_item_matrix(table, "who", "what", "plays").loc[5, 10] == 2.0


def test_without_ratings_each_row_counts_one() -> None:
    assert DataLoader().create_user_item_matrix(frame().drop(columns="rating")).loc[7, 30] == 2.0


def test_a_zero_is_a_cell_without_an_entry() -> None:
    matrix = DataLoader().create_user_item_matrix(frame(rating=[0, 1, 0, 1]))

    assert matrix.shape == (2, 3)
    assert matrix.sparse.to_coo().nnz == 2


def test_ids_may_be_categories_or_nullable_ints() -> None:
    table = frame(item_id=pd.Categorical(["x", "y", "x", "x"]), user_id=pd.array([1, 2, 1, 1], dtype="Int64"))

    assert DataLoader().create_user_item_matrix(table.iloc[1:]).to_dict() == {
        "x": {1: 3.1, 2: 0.0},
        "y": {1: 0.0, 2: 2.0},
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"rating": [1, -1, 1, 1]}, r"column 'rating', data row 2: -1 is negative"),
        ({"rating": [1, 1, np.nan, 1]}, r"column 'rating', data row 3: a value is missing"),
        ({"rating": [1, 1, np.inf, 1]}, r"column 'rating', data row 3: infinity"),
        ({"rating": [1, "x", 1, 1]}, r"column 'rating', data row 2: 'x': not a number"),
        ({"rating": list("abcd")}, r"column 'rating', data row 1: 'a' .*is not a number"),
        ({"user_id": [1.0, 2.0, 3.0, 4.0]}, r"column 'user_id', data row 1: .*float 1.0"),
        ({"user_id": [1, "1", 2, 2]}, r"column 'user_id', data row 2: '1': ids must be ints or strings"),
        ({"user_id": ["a", None, "b", "b"]}, r"column 'user_id', data row 2: an id is missing"),
        ({"item_id": ["a", "", "b", "b"]}, r"column 'item_id', data row 2: the id '' is empty"),
        ({"item_id": ["a", "b" * 513, "b", "b"]}, r"column 'item_id', data row 2: .*longer than 512"),
        ({"item_id": [1, 2**63, 1, 1]}, r"column 'item_id', data row 2: .*64 bits"),
        ({"item_id": [1, 2**70, 1, 1]}, r"column 'item_id', data row 2"),
        ({"item_id": [True, False, True, True]}, r"column 'item_id', data row 1: .*True"),
        ({"item_id": pd.date_range("2024", periods=4)}, r"column 'item_id', data row 1"),
    ],
)
def test_bad_values_are_named_and_the_mappings_stay(columns: dict[str, Any], said: str) -> None:
    loader = DataLoader()
    loader.create_user_item_matrix(frame())
    before = (loader.user_to_idx, loader.item_to_idx, loader.idx_to_user, loader.idx_to_item)

    with pytest.raises(DataError, match=said):
        loader.create_user_item_matrix(frame(**columns))

    assert before == (loader.user_to_idx, loader.item_to_idx, loader.idx_to_user, loader.idx_to_item)
    assert loader.user_to_idx == {5: 0, 7: 1}


def test_missing_columns_are_named() -> None:
    loader = DataLoader()

    with pytest.raises(MissingColumnsError, match=r"^Missing required columns: \['item_id'\]$"):
        loader.create_user_item_matrix(frame().drop(columns="item_id"))
    with pytest.raises(MissingColumnsError, match=r"^Missing required columns: \['plays'\]$"):
        loader.create_user_item_matrix(frame(), value_col="plays")


def test_no_rows_and_no_frame_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        DataLoader().create_user_item_matrix(frame().iloc[:0])
    with pytest.raises(DataError, match="must be a pandas DataFrame, got list"):
        DataLoader().create_user_item_matrix([1])


def test_columns_without_text_for_names_are_refused_by_these() -> None:
    # given: what read_csv(header=None) gives, which was a TypeError of re.sub
    unnamed = frame().set_axis(range(frame().shape[1]), axis="columns")

    with pytest.raises(DataError, match=r"columns must have text for names, got \[0, 1"):
        DataLoader().create_user_item_matrix(unnamed)
    with pytest.raises(ParameterError, match="user_col must be a column's name, a text, got 0"):
        DataLoader().create_user_item_matrix(unnamed, user_col=0)  # type: ignore[arg-type]  # on purpose
