"""Files that were put one behind the other: a header in the middle, times of two units."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timbral.errors import DataError
from timbral.utils.data_loader import DataLoader


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_in_the_middle_is_no_play_where_ids_are_text(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(f"user_id,item_id\nann,a\n{mark}user_id,item_id\nbob,user_id\n", encoding="utf-8")

    with pytest.raises(DataError, match="data row 2: 'user_id' is the header again"):
        DataLoader().load_csr(path)
    found = DataLoader().load_csr(path, on_missing="drop")
    assert (list(found.user_ids), found.report()["rows_dropped"]) == (["ann", "bob"], 1)


def test_a_header_in_the_middle_is_none_in_parquet_either(tmp_path: Path) -> None:
    path = tmp_path / "plays.parquet"
    users = pa.array(["ann", "user_id"], pa.string_view())
    pq.write_table(pa.table({"user_id": users, "item_id": ["a", "item_id"]}), path)

    with pytest.raises(DataError, match="data row 2: 'user_id' is the header again"):
        DataLoader().load_csr(path)


@pytest.mark.parametrize(
    "times", [[1_700_000_000, 1_700_000_001_000], [1_700_000_000_000_000_000, 5, 1_700_000_000_000_000]]
)
def test_times_of_two_units_are_refused(times: list[int], tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,at\n" + "".join(f"1,{at},{at}\n" for at in times))

    with pytest.raises(DataError, match=r"data row \d: \d+ looks like .*: write all times in one unit"):
        DataLoader().load_csr(path, time_col="at")


def test_numbers_that_are_no_moments_may_be_times(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user_id,item_id,at\n" + "".join(f"1,{at},{at}\n" for at in (-1, 0, 7, 20240131, 2**62)))

    assert DataLoader().load_csr(path, time_col="at").n_rows == 5
