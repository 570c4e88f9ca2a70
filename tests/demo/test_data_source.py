from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from timbral.demo.data_source import own_history, read_names, recognise
from timbral.errors import DataError, DatasetNotFoundError, ParameterError


@pytest.mark.parametrize(
    ("header", "separator", "columns"),
    [
        ("userID\tartistID\tweight", "\t", ("userID", "artistID", "weight")),
        ("user_id,item_id,rating", ",", ("user_id", "item_id", "rating")),
        ("user;song_id;plays;when", ";", ("user", "song_id", "plays")),
        ("userId,movieId,rating,timestamp", ",", ("userId", "movieId", "rating")),
    ],
)
def test_columns_and_separator_are_told_from_the_header(
    tmp_path: Path, header: str, separator: str, columns: tuple[str, ...]
) -> None:
    path = tmp_path / "plays.dat"
    path.write_text(header + "\r\n" + separator.join("1234"[: len(header.split(separator))]) + "\r\n")

    data = recognise(path)

    assert data.columns == {
        "format": "csv",
        "separator": separator,
        **dict(zip(("user_col", "item_col", "value_col"), columns, strict=True)),
    }


def test_what_the_caller_names_wins_over_what_the_header_suggests(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,rating,hours\n1,2,3,4\n")

    data = recognise(path, value_col="hours", separator="comma")

    assert data.columns["value_col"] == "hours"


def test_a_parquet_file_is_recognised_by_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "plays.parquet"
    pa.parquet.write_table(pa.table({"user": ["a"], "track": ["x"], "count": [1]}), path)

    assert recognise(path).columns == {
        "format": "parquet", "user_col": "user", "item_col": "track", "value_col": "count",
    }  # fmt: skip


def test_json_lines_are_recognised_by_their_first_object(tmp_path: Path) -> None:
    path = tmp_path / "plays.json"
    path.write_text('{"user": 1, "item": 2}\n{"user": 3, "item": 4}\n')

    assert recognise(path).columns == {"format": "json", "user_col": "user", "item_col": "item"}


def test_a_header_that_says_nothing_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("a,b,c\n1,2,3\n")

    with pytest.raises(DataError, match=r"\['a', 'b', 'c'\].*--user-col"):
        recognise(path)


def test_a_missing_file_and_a_long_separator_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        recognise(tmp_path / "nowhere.csv")
    (tmp_path / "plays.csv").write_text("user,item\n1,2\n")
    with pytest.raises(ParameterError, match="separator"):
        recognise(tmp_path / "plays.csv", separator="::")


def test_names_go_by_the_item_ids(tmp_path: Path) -> None:
    path = tmp_path / "artists.dat"
    path.write_text('id\tname\turl\n1\tThe "Quoted"\tx\n2\tBjörk [live]\ty\n')

    assert read_names(path) == {1: 'The "Quoted"', 2: "Björk [live]"}


def test_the_demos_own_history_names_every_artist_with_its_genre(tmp_path: Path) -> None:
    data = own_history(tmp_path)

    rows = data.path.read_text().splitlines()[1:]
    item_ids = {int(row.split(",")[1]) for row in rows}
    assert len(rows) > 50_000
    assert item_ids <= set(data.names)
    assert all(" · " in name for name in data.names.values())
