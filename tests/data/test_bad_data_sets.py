"""Bad input gets an error that names file, column and row, whichever way it is read, and changes nothing."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from timbral.data import csv_batches, decompression, json_rows
from timbral.errors import DataError, DatasetNotFoundError
from timbral.utils.data_loader import DataLoader

HEAD = b"user_id,item_id,rating\n"


def read_both_ways(path: Path, data_format: str, said: str, *, kind: type[Exception] = DataError) -> None:
    """Both readers must refuse ``path`` with an error that names it and matches ``said``."""
    loader = DataLoader()
    for read in (loader.load_csr, loader.load_user_interactions):
        with pytest.raises(kind, match=said) as caught:
            read(path, data_format)
        assert str(path) in str(caught.value)
    assert loader.user_to_idx == loader.item_to_idx == loader.idx_to_user == loader.idx_to_item == {}


CSV = {
    "empty": (b"", "is empty"),
    "blank lines": (b"\n\n\n", "is empty"),
    "header only": (HEAD, "has a header and no data rows"),
    "header without line end": (HEAD[:-1], "has a header and no data rows"),
    "negative": (HEAD + b"1,2,3\n1,2,-1\n", "column 'rating', data row 2: -1 is negative"),
    "nan": (HEAD + b"1,2,3\n1,2,3\n1,2,NaN\n", "column 'rating', data row 3: NaN"),
    "infinite": (HEAD + b"1,2,inf\n", "column 'rating', data row 1: infinity"),
    "minus infinite": (HEAD + b"1,2,-inf\n", "column 'rating', data row 1: -inf is negative"),
    "too large": (HEAD + b"1,2,1e300\n", r"column 'rating', data row 1: 1e\+300 is too large"),
    "text": (HEAD + b"1,2,3\n\n1,2,abc\n", "column 'rating', data row 2: 'abc' is not a number"),
    "text that pandas takes for missing": (HEAD + b"1,2,NA\n", "column 'rating', data row 1: 'NA' is not a number"),
    "number with a decimal comma": (HEAD + b'1,2,"1,5"\n', "column 'rating', data row 1: '1,5' is not a number"),
    "no value": (HEAD + b"1,2,3\n1,2,\n", "column 'rating', data row 2: a value is missing"),
    "short row": (HEAD + b"1,2,3\n1,2\n", "data row 2 has 2 columns, the header has 3"),
    "long row": (HEAD + b"1,2,3\n1,2,3,4\n", "data row 2 has 4 columns, the header has 3"),
    "latin-1": (HEAD + "1,2,3\nMünch,2,3\n".encode("latin-1"), "column 'user_id', data row 2: not valid UTF-8"),
    "latin-1 header": ("user_id,item_id,Größe\n1,2,3\n".encode("latin-1"), "header is not valid UTF-8"),
    "utf-16": ((HEAD + b"1,2,3\n").decode().encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "json": (b'{"user_id": 1, "item_id": 2}\n', 'is json, not csv: say format="json"'),
    "column twice": (b"user_id,item_id,user_id\n1,2,3\n", "column 'user_id' is there twice"),
    "no user": (HEAD + b"1,2,3\n,2,3\n", "column 'user_id', data row 2: an id is missing"),
    "no item": (HEAD + b'1,2,3\n1,"",3\n', "column 'item_id', data row 2: an id is missing"),
    "float id": (
        HEAD + b"1,2,3\n1.5,2,3\n",
        "column 'user_id', data row 2: ids must be ints or strings, got the float 1.5",
    ),
    "whole float id": (HEAD + b"1,3.0,3\n1,2,3\n", "column 'item_id', data row 1: .* got the float 3.0"),
    "long id": (
        HEAD + b"1,2,3\n1," + b"x" * 513 + b",3\n",
        "column 'item_id', data row 2: the id 'xxx.* longer than 512",
    ),
    "open quote": (HEAD + b'1,2,3\n1,"2,3\n4,5,6\n', "data row 2"),
    "noise": (bytes(range(128, 256)) * 40, "not valid UTF-8"),
    "parquet": (b"PAR1" + bytes(50), "is a parquet file, not csv"),
    "xz": (lzma.compress(HEAD), "compressed with xz; gzip, bz2, zstd, lz4 and zip are read"),
    "endless header": (b"a," * 600_000, "its header has no end"),
}


@pytest.mark.parametrize("case", CSV)
def test_bad_csv(case: str, tmp_path: Path) -> None:
    content, said = CSV[case]
    path = tmp_path / "plays.csv"
    path.write_bytes(content)

    read_both_ways(path, "csv", said)


ROW = b'{"user_id": 1, "item_id": 2, "rating": 3}'
JSON = {
    "empty": (b"", "is empty"),
    "no rows": (b" [ ] ", "has no data rows"),
    "a number": (b"5", "neither a json array of objects nor an object a line"),
    "html": (b"<html>", "neither a json array of objects nor an object a line: it starts with '<'"),
    "numbers": (b"[1, 2]", "data row 1: 1 is not an object"),
    "a row that is none": (b"[" + ROW + b", null]", "data row 2: null is not an object"),
    "negative": (ROW + b"\n" + ROW.replace(b"3", b"-3"), "column 'rating', data row 2: -3 is negative"),
    "nan": (ROW.replace(b"3", b"NaN"), "column 'rating', data row 1: NaN"),
    "infinite": (ROW.replace(b"3", b"Infinity"), "column 'rating', data row 1: infinity"),
    "text": (ROW + b"\n" + ROW.replace(b"3", b'"x"'), "column 'rating', data row 2: 'x' is not a number"),
    "true": (ROW.replace(b"3", b"true"), "column 'rating', data row 1: true: not a number"),
    "no value": (ROW + b"\n" + ROW.replace(b"3", b"null"), "column 'rating', data row 2: a value is missing"),
    "a number too long": (ROW.replace(b"3", b"9" * 5000), "data row 1 is not valid json: .*digits"),
    "a number too large": (ROW.replace(b"3", b"1" + b"0" * 400), "column 'rating', data row 1"),
    "no id": (ROW + b"\n" + b'{"item_id": 2, "rating": 1}', "column 'user_id', data row 2: an id is missing"),
    "empty id": (ROW.replace(b"1", b'""'), "column 'user_id', data row 1: the id '' is empty"),
    "float id": (ROW.replace(b"1", b"1.0"), "column 'user_id', data row 1: 1.0: ids must be ints or strings"),
    "list id": (ROW + b"\n" + ROW.replace(b"1", b"[1]"), r"column 'user_id', data row 2: \[1\]: ids must be"),
    "true id": (ROW.replace(b"1", b"true"), "column 'user_id', data row 1: true: ids must be"),
    "mixed ids": (ROW + b"\n" + ROW.replace(b"1", b'"1"'), "column 'user_id', data row 2: \"1\": ids must be"),
    "large id": (ROW.replace(b"2", b"9223372036854775808"), "column 'item_id', data row 1: .* 64 bits"),
    "half a character": (ROW.replace(b"2", b'"\\ud800"'), "column 'item_id', data row 1: .*surrogate"),
    "latin-1": (ROW.replace(b"2", b'"\xfc"'), "is not valid UTF-8"),
    "cut off in a row": (b"[" + ROW + b"," + ROW[:-9], "data row 2: the file ends in the middle of it"),
    "cut off in a text": (ROW + b"\n" + ROW[:6], "data row 2: the file ends in the middle of it"),
    "cut off after a row": (b"[" + ROW, "after data row 1: the file ends in the middle of the array"),
    "cut off after a comma": (b"[" + ROW + b",", "data row 2: the file ends in the middle"),
    "a comma missing": (b"[" + ROW + ROW + b"]", "after data row 1: expected a comma, got '{'"),
    "broken row": (ROW + b"\n" + b'{"user_id" 1}\n' + ROW, "data row 2 is not valid json"),
    "something behind": (b"[" + ROW + b"] x", "something behind the array's end, after data row 1"),
    "deep": (b'[{"user_id": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]", "data row 1: nested too deeply"),
    "columns of two lengths": (b'{"user_id": [1, 2], "item_id": [1]}', "lists or objects of one length"),
}


@pytest.mark.parametrize("case", JSON)
def test_bad_json(case: str, tmp_path: Path) -> None:
    content, said = JSON[case]
    path = tmp_path / "plays.json"
    path.write_bytes(content)

    read_both_ways(path, "json", said)


def test_a_json_row_is_named_beyond_the_first_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "ROWS_PER_BATCH", 3)
    path = tmp_path / "plays.json"

    path.write_bytes(b"\n".join([ROW] * 7 + [ROW.replace(b"1", b'"1"')]))
    read_both_ways(path, "json", "column 'user_id', data row 8")
    path.write_bytes(b"\n".join([b'{"user_id": 1, "item_id": 2}'] * 7 + [ROW]))
    read_both_ways(path, "json", "column 'rating' is there from data row 8 on, and not before")


def table(**columns: Any) -> pa.Table:
    return pa.table({"user_id": [1, 2], "item_id": ["a", "b"], "rating": [1.0, 2.0]} | columns)


PARQUET = {
    "negative": (table(rating=[1, -2]), "column 'rating', data row 2: -2 is negative"),
    "nan": (table(rating=[1, float("nan")]), "column 'rating', data row 2: NaN"),
    "no value": (table(rating=[1.0, None]), "column 'rating', data row 2: a value is missing"),
    "no values": (table(rating=pa.nulls(2)), "column 'rating', data row 1: a value is missing"),
    "text": (table(rating=["1", "two"]), "column 'rating', data row 2: 'two' is not a number"),
    "dates": (table(rating=pa.array([1, 2], pa.date32())), "column 'rating', data row 1: .* is not a number"),
    "no id": (table(item_id=["a", None]), "column 'item_id', data row 2: an id is missing"),
    "no ids": (table(item_id=pa.nulls(2)), "column 'item_id', data row 1: an id is missing"),
    "float ids": (table(user_id=[1.0, 2.0]), "column 'user_id', data row 1: .*float 1.0"),
    "bool ids": (table(user_id=[True, False]), "column 'user_id', data row 1: .*got True"),
    "list ids": (table(user_id=[[1], [2]]), r"column 'user_id', data row 1: .*\[1\]"),
    "large ids": (
        table(user_id=pa.array([1, 2**63], pa.uint64())),
        "column 'user_id', data row 2: .*64 bits with a sign",
    ),
    "empty id": (table(item_id=["a", ""]), "column 'item_id', data row 2: the id '' is empty"),
    "long id": (table(item_id=["a", "é" * 513]), "column 'item_id', data row 2: .*longer than 512 characters"),
    "bytes that are no text": (
        table(item_id=[b"a", b"\xff"]),
        "column 'item_id', data row 1: an id is not valid UTF-8",
    ),
    "no rows": (table().slice(0, 0), "has a header and no data rows"),
}


@pytest.mark.parametrize("case", PARQUET)
def test_bad_parquet(case: str, tmp_path: Path) -> None:
    content, said = PARQUET[case]
    parquet.write_table(content, tmp_path / "plays.parquet")

    read_both_ways(tmp_path / "plays.parquet", "parquet", said)


def test_parquet_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    lying = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"b"]).buffers())
    parquet.write_table(table(item_id=lying), tmp_path / "plays.parquet")

    read_both_ways(tmp_path / "plays.parquet", "parquet", "damaged or cut off: .*Invalid UTF8")


def test_truncated_and_damaged_parquet(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    parquet.write_table(table(), buffer)
    whole, path = buffer.getvalue(), tmp_path / "plays.parquet"

    for content in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-4], HEAD + b"1,2,3\n"):
        path.write_bytes(content)
        read_both_ways(path, "parquet", "is not a parquet file, or is damaged or cut off")
    for at in range(4, len(whole) - 8, 7):
        path.write_bytes(whole[:at] + b"\x7f" + whole[at + 1 :])
        with contextlib.suppress(DataError):  # any other error fails the test
            DataLoader().load_csr(path)


@pytest.mark.parametrize("data_format", ["csv", "json"])
def test_truncated_and_damaged_compression(data_format: str, tmp_path: Path) -> None:
    rows = (
        b"".join(b"%d,%d,1\n" % (n, n * 7) for n in range(2_000)) if data_format == "csv" else b"\n".join([ROW] * 9_999)
    )
    whole = gzip.compress((HEAD if data_format == "csv" else b"") + rows)
    path = tmp_path / f"plays.{data_format}.gz"

    for content in (whole[:-9], whole[: len(whole) // 2], whole[:20] + b"zzzz" + whole[24:], whole[:-8] + bytes(8)):
        path.write_bytes(content)
        read_both_ways(path, data_format, "its compressed bytes are damaged or cut off")


def test_a_file_that_grows_a_thousandfold_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "FREE_EXPANSION", 2**20)
    path = tmp_path / "plays.csv.gz"
    path.write_bytes(gzip.compress(HEAD + b"1,2,3\n" * 2_000_000))

    read_both_ways(path, "csv", "grows to more than 100 times its size")


def test_a_csv_row_that_is_larger_than_a_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", 1_000)
    path = tmp_path / "plays.csv"
    path.write_bytes(HEAD + b"1,2,3\n" * 300 + b"1," + b"x" * 5_000 + b",3\n")

    read_both_ways(path, "csv", "a row is too long")


def test_a_json_row_of_many_megabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MOST_ROW_CHARACTERS", 2**20)
    path = tmp_path / "plays.json"
    path.write_bytes(b'[{"user_id": "' + b"x" * 4 * 2**20 + b'"}]')

    read_both_ways(path, "json", "data row 1 is not valid json")


@pytest.mark.parametrize("data_format", ["csv", "parquet", "json"])
def test_what_is_no_file(data_format: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()

    read_both_ways(tmp_path / "empty", data_format, "is a folder without data files")
    read_both_ways(tmp_path / "pipe", data_format, "is not a regular file")
    read_both_ways(Path("/dev/null"), data_format, "is not a regular file")
    read_both_ways(tmp_path / "none", data_format, "No data set at", kind=DatasetNotFoundError)
    read_both_ways(tmp_path / "pipe" / "x", data_format, "No data set at", kind=DatasetNotFoundError)
    with pytest.raises(DataError, match="cannot be opened"):
        DataLoader().load_csr("a\0b", data_format)


WITHOUT_PERMISSION = """
import os, sys
from timbral.utils.data_loader import DataLoader
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    DataLoader().load_csr(sys.argv[1])
except ValueError as error:
    print(error)
"""


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_bytes(HEAD + b"1,2,3\n")
    path.chmod(0)

    done = subprocess.run([sys.executable, "-c", WITHOUT_PERMISSION, path], capture_output=True, text=True, check=True)

    assert done.stdout == f"{path}: may not be read: permission denied\n"


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["5", ""], "data row 2: a time is missing"),
        (["5", "yesterday"], r"data row 2: 'yesterday' is not a time of the same kind \(int\)"),
        (["soon", "5"], "data row 1: 'soon' is no time: neither a number nor ISO 8601"),
        (["2024-01-01", "7"], r"data row 2: '7' is not a time of the same kind \(timestamp\)"),
        (["1.5", "nan"], "data row 2: nan is not a time"),
        (["1e300", "1"], "data row 1: 1e.300 is not a time"),
    ],
)
def test_bad_times(times: list[str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,t\n" + "".join(f"1,2,{time}\n" for time in times))

    with pytest.raises(DataError, match=f"column 't', {said}"):
        DataLoader().load_csr(path, time_col="t")


@pytest.mark.parametrize(
    "column", [[True, False], pa.array([1, None]), pa.nulls(2), [[1], [2]], pa.array([2**63] * 2, pa.uint64())]
)
def test_bad_parquet_times(column: Any, tmp_path: Path) -> None:
    parquet.write_table(table(t=column), tmp_path / "x.parquet")

    with pytest.raises(DataError, match="column 't', data row"):
        DataLoader().load_csr(tmp_path / "x.parquet", time_col="t")


@pytest.mark.parametrize("times", [["1", "null"], ["1", '"2024-01-01"'], ["true", "1"], ["[]", "1"]])
def test_bad_json_times(times: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\n".join(f'{{"user_id": 1, "item_id": 2, "t": {time}}}' for time in times))

    with pytest.raises(DataError, match="column 't', data row"):
        DataLoader().load_csr(tmp_path / "x.json", time_col="t")
