"""The files that people have: any ending, separator, compression, folder, type of id or time."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyarrow.parquet import encryption

from timbral.data import csv_form, csv_stream
from timbral.errors import DataError, ParameterError
from timbral.utils.data_loader import DataLoader

load = DataLoader().load_csr
CSV = b"user_id,item_id,rating\n1,2,3\n4,2,5\n"
TSV = CSV.replace(b",", b"\t")
JSON = b'{"user_id": 1, "item_id": 2, "rating": 3}\n{"user_id": 4, "item_id": 2, "rating": 5}\n'


class PlainKeys(encryption.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)


def as_dict(read: Any) -> dict[tuple[Any, Any], float]:
    coo = read.matrix.tocoo()
    pairs = zip(read.user_ids.ids(coo.row), read.item_ids.ids(coo.col), strict=True)
    return dict(zip(pairs, coo.data.tolist(), strict=True))


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def parquet_bytes(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


PARQUET = parquet_bytes(user_id=[1, 4], item_id=[2, 2], rating=[3, 5])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tsv", TSV),
        ("x.tsv.gz", gzip.compress(TSV)),
        ("x.txt", TSV),
        ("x.dat", CSV.replace(b",", b"::")),
        ("x.data", CSV.replace(b",", b" ")),
        ("x.csv", CSV.replace(b",", b";")),
        ("x.csv", CSV.replace(b",", b"|")),
        ("x.csv", CSV.replace(b",", b", ")),
        ("x.csv", b"sep=;\r\n" + CSV.replace(b",", b";")),
        ("x.csv", CSV.replace(b"\n", b",,\n")),
        ("x", CSV),
        ("x", b"ORCID,user_id,item_id,rating\n0,1,2,3\n0,4,2,5\n"),
        ("x", JSON),
        ("x.jsonl", JSON),
        ("x.ndjson.bz2", bz2.compress(JSON)),
        ("x.txt", JSON),
        ("x.pq", PARQUET),
        ("x.parq", PARQUET),
        ("x.csv.zip", zipped(x=CSV)),
        ("x.zip", zipped(**{"a/plays": CSV, "__MACOSX/x": b"junk", "README": b"read me"})),
        ("x.zip", zipped(plays=PARQUET)),
        ("x.csv", zipped(x=TSV)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_is_read_whatever_it_is_called(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    assert as_dict(load(tmp_path / name)) == {(1, 2): 3.0, (4, 2): 5.0}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.xlsx", zipped(**{"[Content_Types].xml": b"<x/>", "xl/workbook": b""}), "is an Excel workbook: save it"),
        ("x.zip", zipped(a=b"")[:-9], "compressed bytes are damaged"),
        ("x.zip", zipped(), "a zip archive without data files"),
        ("x.tar", b"x" * 257 + b"ustar\x00", "is a tar archive: unpack it"),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file; what is read: csv, parquet, json"),
        ("x.bin", bytes(100), "is neither text nor parquet"),
        ("x.csv.gz", gzip.compress(b"x" * 257 + b"ustar\x00"), "is a tar archive: unpack it"),
        ("x.csv.gz", gzip.compress(gzip.compress(CSV)), "is compressed twice, with gzip inside"),
        ("x.csv", b"<!DOCTYPE html><html>404</html>", "is an HTML page"),
        ("x.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        ("x.csv", b"# of 2024\nuser_id,item_id\n1,2\n", "begins with a comment, '# of 2024': remove it"),
        ("x.csv", b"user_id,item_id\n1,2\n1\0,2\n", "column 'user_id', data row 2: .* has the character NUL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_data_set_is_called_what_it_is(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=said):
        load(tmp_path / name)


def test_a_damaged_member_of_a_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(plays=b"user_id,item_id\n" + b"".join(b"%d,%d\n" % (n, n * 7) for n in range(9_000))))
    content[2_000:2_040] = bytes(40)
    (tmp_path / "x.zip").write_bytes(content)

    with pytest.raises(DataError, match=r"x\.zip/plays: its compressed bytes are damaged or cut off"):
        load(tmp_path / "x.zip")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 2**20])
@pytest.mark.parametrize("separator", ["::", "||", "ab", "aab"])
def test_a_separator_of_several_characters_may_fall_anywhere(
    separator: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_stream, "CHUNK_BYTES", chunk)
    rows = [
        ("user_id", "item_id", "note", "rating"),
        ("1", "x", '"', "2"),
        ("2", "y:y", "|x", "3"),
        ("3", "z", "", "4"),
    ]
    (tmp_path / "x.dat").write_text("\n".join(separator.join(row) for row in rows))

    read = DataLoader().load_user_interactions(tmp_path / "x.dat", separator=separator)

    assert read["user_id"].tolist() == [1, 2, 3]
    assert read["item_id"].tolist() == ["x", "y:y", "z"]
    assert read["rating"].tolist() == [2, 3, 4]


def test_columns_are_named_where_there_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2,3\n4,2,5\n")

    for read in (load, DataLoader().load_user_interactions):
        with pytest.raises(DataError, match=r"has no header\? Its first row is \['1', '2', '3'\].*columns="):
            read(tmp_path / "x.csv")
    assert as_dict(load(tmp_path / "x.csv", columns=["user_id", "item_id", "plays"])) == {(1, 2): 3.0, (4, 2): 5.0}
    with pytest.raises(DataError, match=r"columns names 2 columns, .*but its first row has 3"):
        load(tmp_path / "x.csv", columns=["user_id", "item_id"])


def test_a_scrobble_export_is_one_user_s_artists_and_tracks(tmp_path: Path) -> None:
    path = tmp_path / "scrobbles.csv"
    path.write_text("Radiohead,OK Computer,Airbag,12 Mar 2020 10:11\nBlur,13,Tender,12 Mar 2020 10:15\n")

    with pytest.raises(DataError, match="has no header"):
        load(path)
    columns = ["artist", "album", "track", "date"]
    said: dict[str, Any] = {"columns": columns, "user_col": "'ann'", "item_col": "artist + track", "time_col": "date"}
    with pytest.raises(DataError, match=r"'12 Mar 2020 10:11' is no time.*time_format"):
        load(path, **said)
    read = load(path, **said, time_format="%d %b %Y %H:%M")

    assert as_dict(read) == {("ann", "Blur – Tender"): 1.0, ("ann", "Radiohead – Airbag"): 1.0}
    assert read.times is not None
    assert read.times[0] - read.times[1] == 4 * 60 * 1_000_000


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252"])
def test_other_encodings_are_read_where_said(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("user_id,item_id\n1,Motörhead\n2,ÿ\n".encode(encoding))

    with pytest.raises(DataError, match=r"(UTF-8|UTF-16).*encoding="):
        load(path)
    assert list(load(path, encoding=encoding).item_ids) == ["Motörhead", "ÿ"]


def test_the_parts_that_spark_writes_are_one_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "plays"
    folder.mkdir()
    (folder / "part-00000-a.snappy.parquet").write_bytes(PARQUET)
    (folder / "part-00001-a.snappy.parquet").write_bytes(parquet_bytes(user_id=[9], item_id=[2], rating=[1]))
    for name in ("_SUCCESS", ".part-00000-a.snappy.parquet.crc", "_committed_1"):
        (folder / name).write_bytes(b"")

    assert as_dict(load(folder)) == {(1, 2): 3.0, (4, 2): 5.0, (9, 2): 1.0}
    assert DataLoader().load_user_interactions(folder, "parquet")["user_id"].tolist() == [1, 4, 9]


def test_text_parts_may_be_empty_compressed_and_without_an_ending(tmp_path: Path) -> None:
    folder = tmp_path / "plays"
    folder.mkdir()
    (folder / "part-00000").write_bytes(b"")
    (folder / "part-00001").write_bytes(b"1\t2\t3\n")
    (folder / "part-00002").write_bytes(b"4\t2\t5\n")

    assert as_dict(load(folder, columns=["user_id", "item_id", "rating"])) == {(1, 2): 3.0, (4, 2): 5.0}


def test_a_row_of_a_part_is_named_with_the_part(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(CSV + b"1,2,x\n")

    with pytest.raises(DataError, match=r"/b\.csv: column 'rating', data row 3: 'x' is not a number"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "said"), [([1], ["1"], "text here and ints in"), (["1"], [1], "ints here and text in")]
)
def test_parts_whose_ids_are_of_two_kinds_are_refused(first: Any, second: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name, ids in (("a", first), ("b", second)):
        (tmp_path / "x" / f"{name}.parquet").write_bytes(parquet_bytes(user_id=ids, item_id=[2]))

    with pytest.raises(
        DataError, match=rf"x/b\.parquet: column 'user_id', data row 1: ids are {said} the files before"
    ):
        load(tmp_path / "x")


@pytest.mark.parametrize(
    ("log", "called"), [("_delta_log/0.json", "a Delta Lake table"), (".hoodie/x", "a Hudi table")]
)
def test_a_table_with_a_past_is_no_folder_of_parts(log: str, called: str, tmp_path: Path) -> None:
    (tmp_path / "x" / log).parent.mkdir(parents=True)
    (tmp_path / "x" / log).write_text("{}")
    (tmp_path / "x" / "part-0.parquet").write_bytes(PARQUET)

    with pytest.raises(DataError, match=f"is {called}, whose folder holds rows of its past"):
        load(tmp_path / "x")


def test_the_folders_of_hive_are_columns(tmp_path: Path) -> None:
    for user in (7, 8):
        (tmp_path / f"user_id={user}" / "day=2026-01-01").mkdir(parents=True)
        (tmp_path / f"user_id={user}" / "day=2026-01-01" / "x.parquet").write_bytes(parquet_bytes(item_id=[1, 2]))

    frame = DataLoader().load_user_interactions(tmp_path, "parquet")

    assert as_dict(load(tmp_path)) == {(user, item): 1.0 for user in (7, 8) for item in (1, 2)}
    assert frame["user_id"].tolist() == [7, 7, 8, 8]
    assert set(frame["day"]) == {"2026-01-01"}


def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(b"user_id,item_id\n1,2\n")

    with pytest.raises(DataError, match=r"b\.csv: its columns, .* are not those of .*a\.csv"):
        load(tmp_path)
    (tmp_path / "b.csv").rename(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"files of several kinds \(a\.csv, b\.parquet\): say which one"):
        load(tmp_path)


U1, U2 = UUID("8154c63b-d3a9-4619-b94b-84495d217284"), UUID("0b6778ef-084a-449f-811c-f9dcfea95f24")


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array([Decimal(5), Decimal(3)], pa.decimal128(38, 0)), [3, 5]),
        (pa.array([Decimal("5.00"), Decimal(3)], pa.decimal128(20, 2)), [3, 5]),
        (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([U1.bytes, U2.bytes], pa.binary(16))), [str(U2), str(U1)]),
        (pa.array([b"ab", b"cd"], pa.binary(2)), ["ab", "cd"]),
    ],
)
def test_ids_of_other_types(column: Any, ids: list[Any], tmp_path: Path) -> None:
    parquet.write_table(pa.table({"user_id": column, "item_id": [1, 2]}), tmp_path / "x.parquet")

    assert list(load(tmp_path / "x.parquet").user_ids) == ids
    assert sorted(DataLoader().load_user_interactions(tmp_path / "x.parquet", "parquet")["user_id"]) == ids


@pytest.mark.parametrize(
    ("value", "said"), [(Decimal("1.5"), "got the float 1.5"), (Decimal(2**63), "does not fit 64 bits with a sign")]
)
def test_decimals_that_are_no_64_bit_ints_are_refused(value: Decimal, said: str, tmp_path: Path) -> None:
    column = pa.array([Decimal(1), value], pa.decimal128(30, 1))
    parquet.write_table(pa.table({"user_id": column, "item_id": [1, 2]}), tmp_path / "x.parquet")

    with pytest.raises(DataError, match=f"column 'user_id', data row 2: .*{said}"):
        load(tmp_path / "x.parquet")


@pytest.mark.parametrize("data_format", ["json", "parquet"])
def test_nested_ids_are_found_by_a_dotted_path(data_format: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{data_format}"
    if data_format == "json":
        path.write_text('{"u": 1, "track": {"info": {"mbid": "a"}}}\n{"u": 2, "track": {"info": {}}}\n{"u": 3}\n')
    else:
        tracks = [{"info": {"mbid": "a"}}, {"info": {"mbid": None}}, None]
        parquet.write_table(pa.table({"u": [1, 2, 3], "track": tracks}), path)

    with pytest.raises(DataError, match=r"column 'track\.info\.mbid', data row 2: an id is missing; .*on_missing"):
        load(path, user_col="u", item_col="track.info.mbid")
    assert as_dict(load(path, user_col="u", item_col="track.info.mbid", on_missing="drop")) == {(1, "a"): 1.0}


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (["2018-01-31 04:58:59 UTC", "2018-01-31 04:58:58 UTC"], [1, 0]),
        (["2018-01-31T04:58:59.123456789Z", "2018-01-31T04:58:59Z"], [123_456, 0]),
        (["2018-01-31 04:58:59.123456789", "2018-01-31 04:58:59.1"], [23_456, 0]),
        (["2018-01-31 04:58", "2018-01-31 04:57"], [60_000_000, 0]),
    ],
)
def test_times_as_databases_write_them(times: list[str], order: list[int], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,t\n" + "".join(f"1,{at},{t}\n" for at, t in enumerate(times)))

    read = load(tmp_path / "x.csv", time_col="t")

    assert read.times is not None
    difference = (read.times - read.times.min()).tolist()
    assert difference == order or [d // 1_000_000 for d in difference] == order


@pytest.mark.parametrize("pending", [1, 4_000_000])
def test_ints_and_floats_among_the_times_are_all_seconds(
    pending: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbral.data import interactions_reader, json_rows

    monkeypatch.setattr(json_rows, "ROWS_PER_BATCH", 1)
    monkeypatch.setattr(interactions_reader, "MOST_PENDING_ROWS", pending)
    times = ["10", "11.5", "12", "9"]
    (tmp_path / "x.json").write_text(
        "\n".join(f'{{"user_id": 1, "item_id": {at}, "t": {time}}}' for at, time in enumerate(times))
    )

    read = load(tmp_path / "x.json", time_col="t")

    assert read.times is not None
    assert read.times.tolist() == [10_000_000, 11_500_000, 12_000_000, 9_000_000]


def test_a_header_is_found_behind_a_long_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_form, "LOOKED_AT_BYTES", 16)
    (tmp_path / "x.csv").write_bytes(CSV + b"5,2,7\n" * 500)

    assert load(tmp_path / "x.csv").n_rows == 502


@pytest.mark.parametrize("footer_is_plain", [True, False])
def test_an_encrypted_parquet_file_is_called_so(footer_is_plain: bool, tmp_path: Path) -> None:
    table = pa.table({"user_id": [1], "item_id": [2]})
    keys = encryption.CryptoFactory(lambda _: PlainKeys())
    wanted = encryption.EncryptionConfiguration(
        "key", column_keys={"key": ["user_id"]}, plaintext_footer=footer_is_plain
    )
    sealed = keys.file_encryption_properties(encryption.KmsConnectionConfig(), wanted)
    with parquet.ParquetWriter(tmp_path / "x.parquet", table.schema, encryption_properties=sealed) as writer:
        writer.write_table(table)

    with pytest.raises(DataError, match="is an encrypted parquet file"):
        load(tmp_path / "x.parquet")


@pytest.mark.parametrize("encoding", ["rot13", "base64", "a\0b", "", "undefined"])
def test_what_is_no_encoding_of_text_is_refused(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(CSV)

    with pytest.raises(ParameterError, match="encoding must be one that Python knows"):
        load(tmp_path / "x.csv", encoding=encoding)


def test_a_file_of_recbole_is_read_by_the_names_before_its_types(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_bytes(b"user_id:token\titem_id:token\trating:float\n1\t2\t3\n4\t2\t5\n")

    assert as_dict(load(tmp_path / "x.inter", user_col=None, item_col=None)) == {(1, 2): 3.0, (4, 2): 5.0}


def test_a_day_that_the_calendar_has_not_is_no_time(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,day\n1,1,01.03.2024\n1,2,31.01.2024\n1,3,30.02.2024\n")

    with pytest.raises(DataError, match=r"column 'day', data row 3: '30\.02\.2024' is a day that there is not"):
        load(path, time_col="day", time_format="%d.%m.%Y")
