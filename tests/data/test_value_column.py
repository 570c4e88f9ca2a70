"""Which column holds the plays: it is said, and never passed by."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from timbral.data import json_rows
from timbral.errors import DataError
from timbral.utils.data_loader import DataLoader

UNMISTAKABLE = [
    "plays", "play_count", "playcount", "playCount", "count", "weight", "listens", "listen_count", "Rating", "RATING",
    "ratings",
    "score", "stars", "n_plays", "track_plays", "scrobbles", "total_plays", "Play Count",
    "overall", "times_played", "liked", "rating:float",
]  # fmt: skip
OTHERS = [
    "timestamp",
    "country",
    "discount",
    "duration",
    "track_count",
    "times_zone",
    "played_at",
    "weighted",
    "ms_played",
    "last_played",
]


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    table = pa.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".json":
        path.write_text("\n".join(map(json.dumps, table.to_pylist())))
    else:
        path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *zip(*columns.values(), strict=True)]))
    return path


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
@pytest.mark.parametrize("name", UNMISTAKABLE)
def test_an_unmistakable_column_is_taken_and_named(name: str, ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{ending}", {"user_id": [1, 1], "item_id": [1, 2], name: [3, 4]})
    loader = DataLoader()

    read = loader.load_csr(path)
    frame = loader.load_user_interactions(path, ending)

    assert read.matrix.toarray().tolist() == [[3.0, 4.0]]
    assert read.report()["value_col"] == name
    assert frame[name].tolist() == frame["rating"].tolist() == [3, 4]
    assert loader.create_user_item_matrix(frame[["user_id", "item_id", name]]).to_numpy().tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("name", OTHERS)
def test_a_part_of_a_word_or_another_thing_is_none(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", {"user_id": [1, 1], "item_id": [1, 2], name: [3, 4]})

    read = DataLoader().load_csr(path)

    assert read.matrix.toarray().tolist() == [[1.0, 1.0]]
    assert read.report()["value_col"] is None


def test_rating_comes_first_and_none_counts_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", {"user_id": [1], "item_id": [1], "plays": [3], "rating": [5]})

    assert DataLoader().load_csr(path).report()["value_col"] == "rating"
    assert DataLoader().load_csr(path, value_col=None).matrix.sum() == 1
    assert DataLoader().load_csr(path, value_col="plays").matrix.sum() == 3


def test_two_that_could_be_it_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", {"user_id": [1], "item_id": [1], "plays": [3], "score": [5]})

    with pytest.raises(DataError, match=r"'plays' and 'score' could both be .* value_col.*--count-rows"):
        DataLoader().load_csr(path)


def test_an_unmistakable_column_without_numbers_is_refused_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", {"user_id": [1], "item_id": [1], "count": ["US"]})

    for read in (DataLoader().load_csr, DataLoader().load_user_interactions):
        with pytest.raises(DataError, match="column 'count', data row 1: 'US' is not a number"):
            read(path)


def test_a_json_column_of_plays_that_begins_late_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "ROWS_PER_BATCH", 2)
    rows: list[dict[str, Any]] = [{"user_id": n, "item_id": 1} for n in range(5)]
    rows[4]["plays"] = 3
    (tmp_path / "x.json").write_text("\n".join(map(json.dumps, rows)))

    with pytest.raises(DataError, match="column 'plays' is there from data row 5 on, and not before"):
        DataLoader().load_csr(tmp_path / "x.json")


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_ratings_that_are_text_are_numbers(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{ending}", {"user_id": [1, 2], "item_id": [1, 1], "rating": ["4.5", " 3"]})

    assert DataLoader().load_csr(path).matrix.data.tolist() == [4.5, 3.0]
    assert DataLoader().load_user_interactions(path, ending)["rating"].tolist() == [4.5, 3.0]


def test_decimal_commas_are_read_where_said_and_hinted_at_where_not(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id;item_id;rating\n1;2;3,5\n1;3;4\n")
    frame = pd.DataFrame({"user_id": [1], "item_id": [2], "rating": ["3,5"]})
    frame.to_parquet(tmp_path / "x.parquet")

    for name in ("x.csv", "x.parquet"):
        with pytest.raises(DataError, match=r"'3,5' is not a number; with a decimal comma: decimal=\",\""):
            DataLoader().load_csr(tmp_path / name)
    assert DataLoader().load_csr(path, decimal=",").matrix.data.tolist() == [3.5, 4.0]
    assert DataLoader().load_user_interactions(path, decimal=",")["rating"].tolist() == [3.5, 4.0]
    assert DataLoader().load_csr(tmp_path / "x.parquet", decimal=",").matrix.data.tolist() == [3.5]


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_data_of_zeros_only_are_refused_with_file_and_column(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{ending}", {"user_id": [1, 2], "item_id": [1, 1], "plays": [0, 0]})

    for read in (DataLoader().load_csr, DataLoader().load_user_interactions):
        with pytest.raises(DataError, match=f"x.{ending}: column 'plays': every value is 0"):
            read(path, ending)


@pytest.mark.parametrize("read", [{}, {"on_missing": "drop"}], ids=["refuse", "drop"])
@pytest.mark.parametrize(
    ("value", "decimal", "said"),
    [
        ("1,234", ".", 'without a mark between them, and where this comma is a decimal one, say decimal=","'),
        ("1.234", ",", "'1.234' is not a number; thousands must be written without"),
        ("1.234,5", ",", "'1.234,5' is not a number; thousands must be written without"),
        ("1\u00a0234", ".", "thousands must be written without"),
        ("\uff13", ".", "'\uff13' is not a number"),
    ],
)
def test_thousands_are_never_taken_for_fractions(
    value: str, decimal: str, said: str, read: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user_id;item_id;plays\n1;2;5\n1;3;{value}\n", encoding="utf-8")

    with pytest.raises(DataError, match=rf"column 'plays', data row 2: .*{re.escape(said)}"):
        DataLoader().load_csr(path, decimal=decimal, **read)
    with pytest.raises(DataError, match=re.escape(said)):
        DataLoader().load_user_interactions(path, decimal=decimal, **read)


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        (["17", "1.234", "980"], True),
        (["17", "1.234.567"], False),  # no number
        (["1.250", "2.500"], False),
        (["17", "2.5"], False),
        (["17", "234"], False),
    ],
)
def test_points_that_may_mark_thousands_are_warned_of(
    values: list[str], warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id;item_id;plays\n" + "".join(f"1;{n};{value}\n" for n, value in enumerate(values)))

    with contextlib.suppress(DataError):
        DataLoader().load_csr(path)

    assert ("1.234 of the column 'plays' is read as a decimal" in caplog.text) == warned
