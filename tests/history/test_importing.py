"""A file of plays becomes part of the history: whole, once, and only if every row is good."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from timbral.data.dataset_file import DatasetFile
from timbral.data.read_options import ReadOptions
from timbral.errors import DataError, ParameterError
from timbral.history.exporting import export_plays, summary
from timbral.history.importing import NO_PLAYS, Imported, import_plays
from timbral.history.table import HistoryTable

ROWS = "user_id,item_id,rating,at\n7,12,3,1767225600\n8,12,0,1767225601\n8,13,1.5,1767225602\n"


@pytest.fixture
def history(tmp_path: Path) -> HistoryTable:
    return HistoryTable(tmp_path / "history")


def load(history: HistoryTable, path: Path, text: str | bytes, time_col: str | None = "at", **options: Any) -> Imported:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_plays(history, DatasetFile.of(path), ReadOptions(time_col=time_col, **options))


def rows(history: HistoryTable) -> list[dict[str, Any]]:
    return sorted((row for batch in history.batches() for row in batch.to_pylist()), key=lambda row: row["item_id"])


def test_a_file_is_imported_once_under_whatever_name(history: HistoryTable, tmp_path: Path) -> None:
    first = load(history, tmp_path / "a.csv", ROWS)
    again = load(history, tmp_path / "b.csv", ROWS)
    other = load(history, tmp_path / "b.csv", ROWS + "9,1,1,1767225603\n")

    assert (first.rows, again.rows, other.rows) == (2, 0, 3)
    assert (first.was_there, again.was_there, other.was_there) == (False, True, False)
    assert first.digest == again.digest != other.digest
    assert len(rows(history)) == 5


def test_a_row_keeps_its_ids_plays_and_moment(history: HistoryTable, tmp_path: Path) -> None:
    load(history, tmp_path / "a.csv", ROWS)

    one, other = rows(history)
    assert (one["user_id"], one["item_id"], one["plays"], one["user_is_int"]) == ("7", "12", 3.0, True)
    assert one["at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert other["plays"] == 1.5


@pytest.mark.parametrize(
    "times",
    [
        [1767225600, 1767225601],
        [1767225600_000, 1767225601_000],
        [1767225600_000_000, 1767225601_000_000],
        [1767225600_000_000_000, 1767225601_000_000_000],
        [1767225600.0, 1767225601.0],
        [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)],
    ],
    ids=["seconds", "milliseconds", "microseconds", "nanoseconds", "float seconds", "timestamps"],
)
def test_times_of_any_unit_are_the_same_moment(history: HistoryTable, tmp_path: Path, times: list[Any]) -> None:
    table = pa.table({"user_id": ["a", "b"], "item_id": ["x", "y"], "at": times})
    parquet.write_table(table, tmp_path / "plays.parquet")

    load(history, tmp_path / "plays.parquet", (tmp_path / "plays.parquet").read_bytes())

    assert [row["at"] for row in rows(history)] == [
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
    ]
    assert [row["user_is_int"] for row in rows(history)] == [False, False]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (ROWS + "9,1,-1,1767225603\n", "data row 4"),
        (ROWS + ",1,1,1767225603\n", "data row 4"),
        (ROWS + "9,1,1,yesterday\n", "data row 4"),
        (ROWS + "9,1,1,9767225603\n", "in the future"),
        (f"{ROWS.splitlines()[0]}\n9,1,1,9767225603\n", "in the future"),
        ("user_id,item_id,rating,at\n", "no data rows"),
    ],
)
def test_one_bad_row_and_nothing_is_imported(history: HistoryTable, tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(DataError, match=named):
        load(history, tmp_path / "a.csv", text)

    assert not history.exists()


def test_json_and_compressed_files_are_read_too(history: HistoryTable, tmp_path: Path) -> None:
    load(history, tmp_path / "a.json", '[{"user_id": "u", "item_id": 5}]', None)
    load(history, tmp_path / "a.csv.gz", gzip.compress(ROWS.encode()))

    assert [(row["user_id"], row["plays"]) for row in rows(history)] == [("7", 3.0), ("8", 1.5), ("u", 1.0)]


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_what_is_exported_can_be_imported_elsewhere(history: HistoryTable, tmp_path: Path, ending: str) -> None:
    load(history, tmp_path / "a.csv", ROWS)
    path = tmp_path / f"out.{ending}"

    assert export_plays(history, path, ending) == 2

    other = HistoryTable(tmp_path / "other")
    import_plays(other, DatasetFile.of(path), ReadOptions(time_col="at"))
    kept = ("user_id", "item_id", "plays", "at", "user_is_int", "item_is_int")
    assert [[row[name] for name in kept] for row in rows(other)] == [
        [row[name] for name in kept] for row in rows(history)
    ]


def test_an_export_says_where_it_cannot_be_written(history: HistoryTable, tmp_path: Path) -> None:
    load(history, tmp_path / "a.csv", ROWS)

    with pytest.raises(ParameterError, match="there is no folder"):
        export_plays(history, tmp_path / "no" / "x.csv", "csv")
    with pytest.raises(ParameterError, match="it is a folder"):
        export_plays(history, tmp_path, "csv")


def test_a_summary_counts_rows_users_items_and_days(history: HistoryTable, tmp_path: Path) -> None:
    load(history, tmp_path / "a.csv", ROWS + "8,12,2,1767312000\n")

    assert summary(history) == (3, 6.5, 2, 2, {"2026-01-01": 2, "2026-01-02": 1})
    assert history.stats().files == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [("at", 2026), ("Timestamp", 2026), ("played_at", 2026), ("ms_played", None), ("seen", None)],
)
def test_a_column_of_times_is_told_by_its_name(
    history: HistoryTable, tmp_path: Path, header: str, expected: int | None
) -> None:
    imported = load(history, tmp_path / "a.csv", f"user_id,item_id,{header}\n7,12,1767225600\n", None)

    assert [row["at"].year for row in rows(history)] == [expected or datetime.now(UTC).year]
    if expected is None:
        assert imported.unread == [header]
        assert imported.told[-1] == "played now"
    else:
        # The same import as one that names the column, and so it is there already.
        assert load(history, tmp_path / "a.csv", f"user_id,item_id,{header}\n7,12,1767225600\n", header).was_there


def test_who_says_that_all_was_played_now_gets_that(history: HistoryTable, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)

    import_plays(history, DatasetFile.of(tmp_path / "a.csv"), ReadOptions(), played_now=True)

    assert {row["at"].date() for row in rows(history)} == {datetime.now(UTC).date()}


def test_what_was_left_out_is_counted_by_why(history: HistoryTable, tmp_path: Path) -> None:
    text = ROWS + "NULL,12,1,1767225603\n,12,1,1767225603\n9,12,,1767225603\n"

    imported = load(history, tmp_path / "a.csv", text, on_missing="drop")

    assert (imported.n_read, imported.rows) == (6, 2)
    assert sum(imported.left_out.values()) == 4
    assert imported.left_out[NO_PLAYS] == 1


def test_days_written_as_numbers_are_never_seconds_of_1970(history: HistoryTable, tmp_path: Path) -> None:
    text = "user_id,item_id,day\n7,12,20240131\n8,13,20231231\n"

    with pytest.raises(DataError, match=r"column 'day': its times, 20231231 to 20240131, are dates and no moments"):
        load(history, tmp_path / "a.csv", text, "day")
    load(history, tmp_path / "a.csv", text, "day", time_format="%Y%m%d")

    assert [str(row["at"].date()) for row in rows(history)] == ["2024-01-31", "2023-12-31"]
