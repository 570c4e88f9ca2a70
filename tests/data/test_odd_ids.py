"""One odd row never turns every id into text, and never becomes a user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from timbral.data import csv_batches
from timbral.errors import DataError
from timbral.utils.data_loader import DataLoader

load = DataLoader().load_csr
MARKERS = [
    "NULL", "null", "NA", "N/A", "n/a", "NaN", "nan", "None", "\\N", "-", "--", "?", "<NA>", "#N/A", "(null)", "nil",
    "undefined", "unknown", ".", "NULL ",
]  # fmt: skip
PADDED = [" 7", "7 ", "\u00a07", "'7'"]


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("odd", MARKERS + PADDED)
def test_what_is_no_id_among_ints_is_refused_or_left_out(odd: str, column: int, tmp_path: Path) -> None:
    rows = [["1", "10", "1"], ["2", "11", "2"], ["3", "10", "3"], ["5", "12", "1"]]
    rows[2][column] = odd
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,rating\n" + "".join(",".join(row) + "\n" for row in rows))
    name = ("user_id", "item_id")[column]

    for read in (load, DataLoader().load_user_interactions):
        with pytest.raises(DataError, match=rf"column '{name}', data row 3: .*on_missing=\"drop\""):
            read(path)
    dropped = load(path, on_missing="drop")
    frame = DataLoader().load_user_interactions(path, on_missing="drop")

    assert list(dropped.user_ids) == [1, 2, 5] == frame["user_id"].tolist()
    assert list(dropped.item_ids) == [10, 11, 12] == frame["item_id"].tolist()
    assert (dropped.n_rows, dropped.report()["rows_dropped"]) == (4, 1)
    assert dropped.report()["user_id_kind"] == "int"
    assert frame["rating"].tolist() == [1, 2, 1]


def test_rows_are_counted_once_whatever_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,rating\n1,10,1\nNULL,-,1\nNULL,10,1\n,10,1\n2,,1\n2,10,\n2,10,NA\n2,10,4\n")

    read = load(path, on_missing="drop")

    assert read.report()["rows_dropped"] == 6
    assert read.matrix.toarray().tolist() == [[1.0], [4.0]]


def test_among_texts_a_word_for_missing_may_be_a_name(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id\n1,abba\n2,None\n3,NA\n4,\n")

    read = load(path, on_missing="drop")

    assert list(read.item_ids) == ["NA", "None", "abba"]
    assert read.report()["rows_dropped"] == 1


def test_an_odd_row_is_told_from_a_late_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", 64)
    path = tmp_path / "x.csv"
    ints = "".join(f"{n},1\n" for n in range(40))

    path.write_text("user_id,item_id\n" + ints + "NULL,1\n" + ints)
    with pytest.raises(DataError, match="column 'user_id', data row 41: 'NULL' stands for a missing id"):
        load(path)
    path.write_text("user_id,item_id\n" + ints + "NULL,1\n" + ints + "x,1\n")

    assert {"NULL", "x", "0"} <= set(load(path).user_ids)


def test_a_second_header_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id\n1,2\nuser_id,item_id\n3,4\n")

    with pytest.raises(DataError, match="data row 2: 'user_id' is the header again"):
        load(path)


@pytest.mark.parametrize("ids", [["99999", "1e+05", "100001"], ["1E+05", "1.2E+05"], ["1.0", "2.0", "NULL"]])
def test_ints_that_a_spreadsheet_wrote_as_floats_are_refused(ids: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id\n" + "".join(f"{one},1\n" for one in ids))

    with pytest.raises(DataError, match=r"column 'user_id', data row \d: ids must be ints or strings, got the float"):
        load(path)


def test_texts_of_json_and_parquet_are_looked_at_too(tmp_path: Path) -> None:
    rows = [{"user_id": "1", "item_id": 1}, {"user_id": "NULL", "item_id": 1}]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")

    for name in ("x.json", "x.parquet"):
        with pytest.raises(DataError, match="column 'user_id', data row 2: 'NULL' stands for a missing id"):
            load(tmp_path / name)
        assert list(load(tmp_path / name, on_missing="drop").user_ids) == ["1"]


@pytest.mark.parametrize("data_format", ["json", "parquet"])
def test_null_ids_are_left_out_where_asked(data_format: str, tmp_path: Path) -> None:
    rows = [{"user_id": None, "item_id": 1}, {"user_id": 2, "item_id": 1}, {"user_id": 3, "item_id": None}]
    path = tmp_path / f"x.{data_format}"
    if data_format == "json":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)

    with pytest.raises(DataError, match=r"column 'user_id', data row 1: an id is missing; .*on_missing"):
        load(path)
    assert list(load(path, on_missing="drop").user_ids) == [2]
    assert DataLoader().load_user_interactions(path, data_format, on_missing="drop")["user_id"].tolist() == [2]


def test_a_column_of_nothing_but_markers_is_not_said_to_have_ints(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id\n1,NA\n2,None\n")

    with pytest.raises(DataError, match=r"data row 1: 'NA' stands for a missing id, and no other id is text"):
        load(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"user_col": "user", "item_col": "user"}, "column 'user' cannot be the users and the items at once"),
        ({"value_col": "user"}, "column 'user' cannot be ids and the plays or ratings at once"),
    ],
)
def test_one_column_is_not_two_things(columns: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,artist\n1,2\n")

    with pytest.raises(DataError, match=said):
        load(path, **{"user_col": None, "item_col": None, **columns})


def test_where_nothing_would_be_left_it_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id\n,1\n,2\n")

    with pytest.raises(DataError, match=r"has no row with all it needs; all 2 would be left out"):
        load(path, on_missing="drop")


IDS = st.one_of(st.integers(-5, 5).map(str), st.sampled_from(["NULL", "", " 3", "x", "007"]))


@given(rows=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=20), block=st.sampled_from([64, 4 * 2**20]))
def test_dropping_does_what_plain_python_does(
    rows: list[tuple[str, str]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("data") / "x.csv"
    path.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows))
    odd: set[Any] = {"NULL", " 3"}
    complete = [row for row in rows if "" not in row]
    texts = [any(row[at] not in odd and not _is_int(row[at]) for row in complete) for at in (0, 1)]
    kept = [row for row in complete if all(texts[at] or row[at] not in odd for at in (0, 1))]
    expected = {tuple(one if texts[at] else int(one) for at, one in enumerate(row)) for row in kept}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_batches, "BLOCK_BYTES", block)
        if not kept:
            with pytest.raises(DataError):
                load(path, on_missing="drop")
            return
        read = load(path, on_missing="drop")

    entries = read.matrix.tocoo()
    assert set(zip(read.user_ids.ids(entries.row), read.item_ids.ids(entries.col), strict=True)) == expected
    assert read.report()["rows_dropped"] == len(rows) - len(kept)


def _is_int(text: str) -> bool:
    return text.lstrip("-").isdigit() and str(int(text)) == text
