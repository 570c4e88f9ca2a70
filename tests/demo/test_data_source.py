from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from timbral.demo.data_source import DemoData, own_history, recognise
from timbral.errors import DataError, DatasetNotFoundError, ParameterError
from timbral.utils.data_loader import DataLoader


def columns_of(data: DemoData) -> dict[str, Any]:
    """What a training takes, of what the demo would send."""
    report = DataLoader().load_csr(data.path, **data.read).report()
    return {name: report[name] for name in ("separator", "user_col", "item_col", "value_col")}


@pytest.mark.parametrize(
    ("header", "separator", "columns"),
    [
        ("userID\tartistID\tweight", "\t", ("userID", "artistID", "weight")),
        ("user_id,item_id,rating", ",", ("user_id", "item_id", "rating")),
        ("user;song_id;plays;when", ";", ("user", "song_id", "plays")),
        ("userId,movieId,rating,timestamp", ",", ("userId", "movieId", "rating")),
        ("user_id,track_id,timestamp", ",", ("user_id", "track_id", None)),
        ("user_id,country,track_name,track_id,discount", ",", ("user_id", "track_id", None)),
        ("user::item::count", "::", ("user", "item", "count")),
    ],
)
def test_columns_and_separator_are_told_from_the_header(
    tmp_path: Path, header: str, separator: str, columns: tuple[str, ...]
) -> None:
    path = tmp_path / "plays.dat"
    path.write_text(header + "\r\n" + separator.join("12345"[: len(header.split(separator))]) + "\r\n")

    data = recognise(path)

    assert columns_of(data) == {
        "separator": separator,
        **dict(zip(("user_col", "item_col", "value_col"), columns, strict=True)),
    }
    assert all(repr(column) in data.description for column in columns if column)


def test_what_the_caller_names_wins_over_what_the_header_suggests(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,rating,hours\n1,2,3,4\n")

    data = recognise(path, value_col="hours", separator=",")

    assert columns_of(data)["value_col"] == "hours"


def test_a_parquet_file_is_recognised_by_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "plays.parquet"
    pa.parquet.write_table(pa.table({"user": ["a"], "track": ["x"], "count": [1]}), path)

    assert columns_of(recognise(path)) == {
        "separator": None, "user_col": "user", "item_col": "track", "value_col": "count",
    }  # fmt: skip


def test_json_lines_are_recognised_by_their_first_object(tmp_path: Path) -> None:
    path = tmp_path / "plays.json"
    path.write_text('{"user": 1, "item": 2}\n{"user": 3, "item": 4}\n')

    assert columns_of(recognise(path)) == {"separator": None, "user_col": "user", "item_col": "item", "value_col": None}


def test_a_preset_is_told(tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    path.write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")

    assert "movielens-100k" in recognise(path).description


def test_a_header_that_says_nothing_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("a,b,c\n1,2,3\n")

    with pytest.raises(DataError, match=r"\['user_id', 'item_id'\].*\['a', 'b', 'c'\]"):
        recognise(path)


def test_a_missing_file_and_a_wrong_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        recognise(tmp_path / "nowhere.csv")
    (tmp_path / "plays.csv").write_text("user,item\n1,2\n")
    with pytest.raises(ParameterError, match="separator"):
        recognise(tmp_path / "plays.csv", separator='"')


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.json", b'[{"user": 1, "item'),
        ("utf16.csv", "user,item\n1,2\n".encode("utf-16")),
        ("damaged.parquet", b"PAR1" + bytes(40)),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b"),
    ],
)
def test_what_the_loader_refuses_the_demo_refuses_with_the_same_words(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError) as loader:
        DataLoader().load_csr(tmp_path / name, user_col=None, item_col=None)
    with pytest.raises(DataError) as demo:
        recognise(tmp_path / name)

    assert str(demo.value) == str(loader.value)


def test_names_go_by_the_ids_whichever_kind_they_are(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("user,item\n1,7\n2,x\n")
    (tmp_path / "artists.csv").write_text("id,name\n7,Seven\nx,Ex\n")

    data = recognise(tmp_path / "plays.csv", names_path=tmp_path / "artists.csv")

    assert [data.name(one) for one in (7, "7", "x", 8)] == ["Seven", "Seven", "Ex", "8"]


def test_the_demos_own_history_names_every_artist_with_its_genre(tmp_path: Path) -> None:
    data = own_history(tmp_path)

    rows = data.path.read_text().splitlines()[1:]
    item_ids = {int(row.split(",")[1]) for row in rows}
    assert len(rows) > 50_000
    assert item_ids <= set(data.names)
    assert all(" · " in name for name in data.names.values())
    assert columns_of(data)["value_col"] == "plays"
