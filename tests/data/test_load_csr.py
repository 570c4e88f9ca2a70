from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import csv, fs, parquet

from timbral.data import csv_batches, interactions_reader, json_rows, parquet_batches
from timbral.data.dataset_file import DatasetFile
from timbral.data.interactions import Interactions
from timbral.errors import DataError, MissingColumnsError, ParameterError
from timbral.utils.data_loader import DataLoader

load = DataLoader().load_csr


def as_dict(read: Interactions) -> dict[tuple[Any, Any], float]:
    users, items = read.user_ids.ids(range(len(read.user_ids))), read.item_ids.ids(range(len(read.item_ids)))
    entries = read.matrix.tocoo()
    return {(users[u], items[i]): v for u, i, v in zip(entries.row, entries.col, entries.data.tolist(), strict=True)}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_a_float32_csr_with_sorted_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "user_id,item_id,rating\n9,b,1.5\n-3,a,2\n9,a,4\n9,b,1\n")

    read = load(path)

    assert as_dict(read) == {(9, "b"): 2.5, (-3, "a"): 2.0, (9, "a"): 4.0}
    assert read.user_ids.ids([0, 1]) == [-3, 9]
    assert read.item_ids.ids([0, 1]) == ["a", "b"]
    assert read.matrix.dtype == np.float32
    assert read.matrix.indices.dtype == np.int32
    assert read.matrix.has_sorted_indices
    assert read.n_rows == 4
    assert read.times is None


ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 5), st.integers(-5, 5)), min_size=1, max_size=60
)


@given(rows=ROWS, data_format=st.sampled_from(["csv", "parquet", "json"]), as_text=st.booleans())
def test_what_is_read_is_the_sum_of_the_rows_however_the_batches_fall(
    rows: list[tuple[int, int, int, int]], data_format: str, as_text: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("data") / f"x.{data_format}"
    table = pa.table({name: [row[at] for row in rows] for at, name in enumerate(["user_id", "item_id", "rating", "t"])})
    if as_text:
        table = table.set_column(1, "item_id", pa.array([f"i{row[1]}" for row in rows]))
    if data_format == "csv":
        csv.write_csv(table, path)
    elif data_format == "parquet":
        parquet.write_table(table, path, row_group_size=7)
    else:
        path.write_text("\n".join(map(json.dumps, table.to_pylist())))
    assume(any(row[2] for row in rows))
    expected: dict[tuple[Any, Any], float] = defaultdict(float)
    newest: dict[tuple[Any, Any], int] = {}
    for row in table.to_pylist():
        pair = (row["user_id"], row["item_id"])
        expected[pair] += row["rating"]
        newest[pair] = max(newest.get(pair, -9), row["t"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactions_reader, "MOST_PENDING_ROWS", 5)
        patch.setattr(parquet_batches, "ROWS_PER_BATCH", 3)
        patch.setattr(json_rows, "ROWS_PER_BATCH", 3)
        patch.setattr(csv_batches, "BLOCK_BYTES", 64)
        read = load(path, time_col="t")

    positive = {pair: value for pair, value in expected.items() if value}
    assert as_dict(read) == positive
    assert len(read.user_ids) == len({row[0] for row in rows})
    assert read.n_rows == len(rows)
    entries = read.matrix.tocoo()
    pairs = zip(read.user_ids.ids(entries.row), read.item_ids.ids(entries.col), strict=True)
    assert read.times is not None
    assert read.times.tolist() == [newest[pair] for pair in pairs]


def test_ids_that_turn_out_to_be_text_late_are_text_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", 64)
    monkeypatch.setattr(interactions_reader, "MOST_PENDING_ROWS", 10)
    lines = [f"{number},1\n" for number in range(50)]
    path = write(tmp_path / "x.csv", "user_id,item_id\n" + "".join(lines) + "x7,1\n" + "".join(lines))

    read = load(path)

    assert len(read.user_ids) == 51
    assert set(read.user_ids) == {*map(str, range(50)), "x7"}
    assert as_dict(read)["49", 1] == 2.0


@pytest.mark.parametrize("odd", ["007", "+7", "18446744073709551616", "0x7", "-0", "7_0"])
def test_one_id_that_is_no_plain_int_makes_all_of_them_text(odd: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"user_id,item_id\n7,1\n{odd},1\n")

    assert set(load(path).user_ids) == {"7", odd}


def test_ids_of_64_bits_are_exact(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"user_id,item_id\n{2**63 - 1},{-(2**63)}\n{2**63 - 2},1\n")

    read = load(path)

    assert list(read.user_ids) == [2**63 - 2, 2**63 - 1]
    assert list(read.item_ids) == [-(2**63), 1]


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array([5, 3], pa.int8()), [3, 5]),
        (pa.array([5, 3], pa.uint64()), [3, 5]),
        (pa.array(["b", "a"]), ["a", "b"]),
        (pa.array(["b", "a"], pa.large_string()), ["a", "b"]),
        (pa.array(["b", "ü"], pa.string_view()), ["b", "ü"]),
        (pa.array([b"b", b"a"]), ["a", "b"]),
        (pa.array(["b", "a"]).dictionary_encode(), ["a", "b"]),
        (pa.array([7, 5]).dictionary_encode(), [5, 7]),
        (pa.DictionaryArray.from_arrays(pa.array([2, 1], pa.int8()), pa.array(["unused", "a", "b"])), ["a", "b"]),
    ],
)
def test_every_parquet_type_that_can_be_an_id_is_one(column: Any, ids: list[Any], tmp_path: Path) -> None:
    parquet.write_table(pa.table({"user_id": column, "item_id": [1, 2]}), tmp_path / "x.parquet")

    assert list(load(tmp_path / "x.parquet").user_ids) == ids


def test_json_ids_stay_what_json_says(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.json", '[{"user_id": "1", "item_id": 2, "x": {"y": []}}, {"user_id": "02", "item_id": 1}]'
    )

    read = load(path)

    assert list(read.user_ids) == ["02", "1"]
    assert list(read.item_ids) == [1, 2]


@pytest.mark.parametrize(
    ("name", "data_format"),
    [
        ("x.csv", "csv"),
        ("x.CSV.gz", "csv"),
        ("x.json", "json"),
        ("x.json.zst", "json"),
        ("x.snappy.parquet", "parquet"),
    ],
)
def test_the_format_is_told_from_the_ending(name: str, data_format: str, tmp_path: Path) -> None:
    if data_format == "parquet":
        parquet.write_table(pa.table({"user_id": [1], "item_id": [2]}), tmp_path / name)
    else:
        write(tmp_path / name, "user_id,item_id\n1,2\n" if data_format == "csv" else '{"user_id":1,"item_id":2}')

    assert as_dict(load(tmp_path / name)) == {(1, 2): 1.0}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_any_line_end_a_byte_order_mark_and_quotes(end: str, mark: str, tmp_path: Path) -> None:
    lines = ["user_id,item_id,rating", 'a,"b, ""c""",2', "", '"ü",d,3']
    (tmp_path / "x.csv").write_bytes((mark + end.join(lines)).encode())

    assert as_dict(load(tmp_path / "x.csv")) == {("a", 'b, "c"'): 2.0, ("ü", "d"): 3.0}


def test_a_line_end_within_quotes_and_at_a_block_s_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", 64)
    rows = "".join(f'{number},"a\nb{number}"\n' for number in range(40))

    read = load(write(tmp_path / "x.csv", "user_id,item_id\n" + rows))

    assert set(read.item_ids) == {f"a\nb{number}" for number in range(40)}


def test_a_header_of_thousands_of_columns(tmp_path: Path) -> None:
    header = ",".join(f"column{number}" for number in range(5_000)) + ",user_id,item_id"

    assert as_dict(load(write(tmp_path / "x.csv", f"{header}\n{'1,' * 5_000}7,8\n"))) == {(7, 8): 1.0}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_character_across_the_end_of_what_is_looked_at_first(mark: str, shift: int, tmp_path: Path) -> None:
    name = "界" * 500
    rows = "".join(f"{'x' * shift if row == 0 else 'y'},{name}\n" for row in range(1_000))

    read = load(write(tmp_path / "x.csv", f"{mark}user_id,item_id\n{rows}"))

    assert list(read.item_ids) == [name]
    assert read.n_rows == 1_000


def test_the_value_column_is_optional_only_under_its_default_name(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "user_id,item_id,rating\n1,2,9\n1,2,9\n")

    assert as_dict(load(path)) == {(1, 2): 18.0}
    assert as_dict(load(path, value_col=None)) == {(1, 2): 2.0}
    with pytest.raises(
        MissingColumnsError, match=r"\['plays'\] \(in .*x.csv, which has \['user_id', 'item_id', 'rating'\]"
    ):
        load(path, value_col="plays")


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (["1", "3", "2"], [1, 3, 2]),
        (["1.25", "3", "2.5"], [1_250_000, 3_000_000, 2_500_000]),
        (["1970-01-02", "1970-01-01T00:00:01", "1970-01-01 00:00:00.5"], [86_400_000_000, 1_000_000, 500_000]),
        (["1970-01-01T00:00:01Z", "1970-01-01T01:00:00+01:00", "1970-01-01T00:00:02Z"], [1_000_000, 0, 2_000_000]),
    ],
)
def test_csv_times_are_numbers_or_iso_text(times: list[str], order: list[int], tmp_path: Path) -> None:
    rows = "".join(f"1,{item},{time}\n" for item, time in enumerate(times))

    read = load(write(tmp_path / "x.csv", "user_id,item_id,t\n" + rows), time_col="t")

    assert read.times is not None
    assert read.times.dtype == np.int64
    assert read.times.tolist() == order


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (pa.array([5, 2**62]), [5, 2**62]),
        (pa.array([0.5, 2.0]), [500_000, 2_000_000]),
        (pa.array([1, 2], pa.timestamp("ms")), [1_000, 2_000]),
        (pa.array([1, 2], pa.timestamp("ns", "Europe/Paris")), [0, 0]),
        (pa.array([1, 2], pa.date32()), [86_400_000_000, 172_800_000_000]),
        (pa.array(["1970-01-01", "1970-01-02"]), [0, 86_400_000_000]),
    ],
)
def test_parquet_times_of_every_type(column: Any, order: list[int], tmp_path: Path) -> None:
    parquet.write_table(pa.table({"user_id": [1, 1], "item_id": [1, 2], "t": column}), tmp_path / "x.parquet")

    read = load(tmp_path / "x.parquet", time_col="t")

    assert read.times is not None
    assert read.times.tolist() == order


def test_play_thresholds_work_on_sums_and_drop_who_has_nothing_left(tmp_path: Path) -> None:
    rows = "1,a,3\n1,a,3\n1,b,4\n2,b,5\n3,c,900\n4,d,1\n"
    path = write(tmp_path / "x.csv", "user_id,item_id,rating,t\n" + rows.replace("\n", ",7\n"))

    read = load(path, min_plays=5, max_plays=100, time_col="t")

    assert as_dict(read) == {(1, "a"): 6.0, (2, "b"): 5.0, (3, "c"): 100.0}
    assert list(read.user_ids) == [1, 2, 3]
    assert list(read.item_ids) == ["a", "b", "c"]
    assert read.times is not None
    assert read.times.tolist() == [7, 7, 7]
    assert read.n_rows == 6
    assert as_dict(load(path, max_plays=4))[3, "c"] == 4.0
    assert as_dict(load(path, min_plays=0)) == as_dict(load(path))
    with pytest.raises(DataError, match="1000 times or more; the most is 900"):
        load(path, min_plays=1000)
    for wrong in ({"min_plays": -1}, {"max_plays": float("nan")}, {"min_plays": 9, "max_plays": 8}):
        with pytest.raises(ParameterError, match="_plays"):
            load(path, **wrong)


def test_thresholds_leave_the_first_reading_as_it_was(tmp_path: Path) -> None:
    read = load(write(tmp_path / "x.csv", "user_id,item_id,rating\n1,1,9\n1,2,5\n"))

    assert read.with_play_thresholds(None, 6).matrix.data.tolist() == [6.0, 5.0]
    assert read.matrix.data.tolist() == [9.0, 5.0]


def test_many_repeated_plays_add_up_exactly(tmp_path: Path) -> None:
    parquet.write_table(
        pa.table(
            {"user_id": np.zeros(100_000, int), "item_id": np.zeros(100_000, int), "rating": np.full(100_000, 0.1)}
        ),
        tmp_path / "x.parquet",
    )

    assert load(tmp_path / "x.parquet").matrix.data.tolist() == [pytest.approx(10_000, rel=1e-6)]


def test_a_sum_that_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "user_id,item_id,rating\n1,2,3e38\n1,2,3e38\n")
    with pytest.raises(DataError, match=r"x.csv: the values of a user and an item add up to more"):
        load(path)


def test_audio_endings_come_off_and_the_plays_come_together(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "user_id,item_id,rating\n1,song.mp3,2\n1,song.FLAC,3\n1,other.txt,1\n")

    assert as_dict(load(path, strip_audio_suffix=True)) == {(1, "song"): 5.0, (1, "other.txt"): 1.0}


def test_progress_is_told_and_can_stop_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_batches, "ROWS_PER_BATCH", 10)
    parquet.write_table(pa.table({"user_id": range(25), "item_id": range(25)}), tmp_path / "x.parquet")
    told: list[int] = []

    load(tmp_path / "x.parquet", on_rows=told.append)

    assert told == [10, 20, 25]

    def stop(n_rows: int) -> None:
        raise InterruptedError(n_rows)

    with pytest.raises(InterruptedError):
        load(tmp_path / "x.parquet", on_rows=stop)


def test_a_file_on_another_file_system_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"user_id,item_id\n1,2\n"))
    parquet.write_table(pa.table({"user_id": ["a"], "item_id": [2]}), tmp_path / "x.parquet")
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())

    assert as_dict(load(DatasetFile("s3://plays/x.csv.gz", "x.csv.gz", elsewhere))) == {(1, 2): 1.0}
    assert as_dict(load(DatasetFile("s3://plays/x.parquet", "x.parquet", elsewhere))) == {("a", 2): 1.0}
    with pytest.raises(FileNotFoundError, match=r"No data set at s3://plays/none\.csv"):
        load(DatasetFile("s3://plays/none.csv", "none.csv", elsewhere))
    with pytest.raises(DataError, match=r"s3://plays/dir\.csv"):
        load(DatasetFile("s3://plays/dir.csv", "", elsewhere))


def test_the_frame_and_the_csr_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = pa.table(
        {"user_id": rng.integers(0, 40, 500), "item_id": rng.integers(0, 30, 500), "rating": rng.random(500)}
    )
    csv.write_csv(table, tmp_path / "x.csv")
    loader = DataLoader()

    read = loader.load_csr(tmp_path / "x.csv")
    matrix = loader.create_user_item_matrix(loader.load_user_interactions(tmp_path / "x.csv"))

    np.testing.assert_allclose(read.matrix.toarray(), matrix.to_numpy(), rtol=1e-6)
    assert list(read.user_ids) == matrix.index.tolist()
    assert list(read.item_ids) == list(loader.idx_to_item.values())
