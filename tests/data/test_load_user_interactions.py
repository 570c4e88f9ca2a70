from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbral.errors import DataError, MissingColumnsError, ParameterError
from timbral.utils.data_loader import DataLoader

FRAME = pd.DataFrame(
    {
        "user_id": [3, 1, 3],
        "item_id": [10, 20, 10],
        "rating": [4.0, 2.5, 1.0],
        "note": ["a", "b", "ü"],
        "day": [7, 8, 9],
    }
)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path)


def write_json_array(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(path, orient="records", force_ascii=False)


def write_json_lines(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(path, orient="records", lines=True)


def write_json_columns(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(path)


def write_json_indented(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(path, orient="records", indent=2)


WRITERS = [
    ("csv", write_csv),
    ("parquet", write_parquet),
    ("json", write_json_array),
    ("json", write_json_lines),
    ("json", write_json_columns),
    ("json", write_json_indented),
]
every_format = pytest.mark.parametrize(
    ("data_format", "write"), WRITERS, ids=["csv", "parquet", "array", "lines", "columns", "indented"]
)
Writer = Callable[[pd.DataFrame, Path], None]


@every_format
def test_every_format_gives_the_frame_that_was_written(data_format: str, write: Writer, tmp_path: Path) -> None:
    write(FRAME, tmp_path / "plays")

    read = DataLoader().load_user_interactions(str(tmp_path / "plays"), data_format)

    rating = FRAME["rating"].astype(read["rating"].dtype)  # json writes 4.0 as 4.0, and reads it so
    pd.testing.assert_frame_equal(read, FRAME.assign(rating=rating))
    assert read["user_id"].dtype == "int64"


@every_format
def test_string_ids_work_the_same_way(data_format: str, write: Writer, tmp_path: Path) -> None:
    frame = FRAME.assign(user_id=["spotify:user:ü", "b", "b"], item_id=["5a", "7", "7"])
    write(frame, tmp_path / "plays")

    read = DataLoader().load_user_interactions(tmp_path / "plays", data_format)

    assert read["user_id"].tolist() == ["spotify:user:ü", "b", "b"]
    assert read["item_id"].tolist() == ["5a", "7", "7"]


@every_format
def test_a_file_without_ratings_gets_ones(data_format: str, write: Writer, tmp_path: Path) -> None:
    write(FRAME.drop(columns="rating"), tmp_path / "plays")

    read = DataLoader().load_user_interactions(tmp_path / "plays", data_format)

    assert read["rating"].tolist() == [1.0, 1.0, 1.0]
    assert read["rating"].dtype == "float64"
    assert list(read.columns) == ["user_id", "item_id", "note", "day", "rating"]


def test_csv_is_the_default(tmp_path: Path) -> None:
    write_csv(FRAME, tmp_path / "plays.dat")

    assert DataLoader().load_user_interactions(tmp_path / "plays.dat")["day"].tolist() == [7, 8, 9]


def test_the_formats_are_listed_and_others_refused(tmp_path: Path) -> None:
    loader = DataLoader()

    assert loader.supported_formats == ["csv", "parquet", "json"]
    with pytest.raises(ValueError, match="Unsupported format 'xml'; supported: csv, parquet, json"):
        loader.load_user_interactions(tmp_path / "x", format="xml")


@every_format
@pytest.mark.parametrize(
    ("dropped", "named"), [(["user_id"], "['user_id']"), (["item_id", "user_id"], "['user_id', 'item_id']")]
)
def test_just_the_missing_columns_are_named(
    data_format: str, write: Writer, dropped: list[str], named: str, tmp_path: Path
) -> None:
    write(FRAME.drop(columns=dropped), tmp_path / "plays")

    with pytest.raises(ValueError) as caught:
        DataLoader().load_user_interactions(tmp_path / "plays", data_format)

    assert str(caught.value) == f"Missing required columns: {named}"
    assert isinstance(caught.value, MissingColumnsError)


def test_no_such_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    for data_format in ("csv", "parquet", "json"):
        with pytest.raises(FileNotFoundError, match="No data set at"):
            DataLoader().load_user_interactions(tmp_path / "none", data_format)


def test_other_names_and_separators(tmp_path: Path) -> None:
    (tmp_path / "plays.dat").write_bytes(b"userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n")

    read = DataLoader().load_user_interactions(
        tmp_path / "plays.dat", user_col="userID", item_col="artistID", value_col="weight", separator="\t"
    )

    assert read.to_dict("list") == {"userID": [2, 2], "artistID": [51, 52], "weight": [13883, 11690]}


def test_csv_ids_are_ints_only_if_all_of_them_are_plain_ints(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\n007,-5\n12,0\n")

    read = DataLoader().load_user_interactions(tmp_path / "x.csv")

    assert read["user_id"].tolist() == ["007", "12"]
    assert read["item_id"].tolist() == [-5, 0]


def test_other_csv_columns_are_ints_floats_bools_or_texts(tmp_path: Path) -> None:
    rows = "1,2,1,1.5,True,x,,2024-01-01\n1,3,2,,False,,,7\n"
    (tmp_path / "x.csv").write_text(f"user_id,item_id,a,b,c,d,e,f\n{rows}")

    read = DataLoader().load_user_interactions(tmp_path / "x.csv")

    assert read["a"].tolist() == [1, 2]
    assert read["b"].isna().tolist() == [False, True]
    assert read["c"].tolist() == [True, False]
    assert read["d"].isna().tolist() == [False, True]
    assert read["e"].isna().all()
    assert read["f"].tolist() == ["2024-01-01", "7"]


def test_numbers_that_all_are_whole_stay_ints(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,rating\n1,2, 5\n1,3,4 \n")
    read = DataLoader().load_user_interactions(tmp_path / "x.csv")
    assert read["rating"].tolist() == [5, 4]
    assert read["rating"].dtype == "int64"


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lambda data: pa.compress(data, "zstd", asbytes=True)]
)
@pytest.mark.parametrize("data_format", ["csv", "json"])
def test_compressed_text_is_read(compress: Callable[[bytes], bytes], data_format: str, tmp_path: Path) -> None:
    plain = b"user_id,item_id\n1,2\n" if data_format == "csv" else b'[{"user_id": 1, "item_id": 2}]'
    (tmp_path / "plays").write_bytes(compress(plain))

    read = DataLoader().load_user_interactions(tmp_path / "plays", data_format)

    assert read.to_dict("list") == {"user_id": [1], "item_id": [2], "rating": [1.0]}


def test_audio_endings_come_off_item_ids_where_asked(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\na.mp3,song.mp3\nb,song.FLAC\nb,.wav\nc,song.ogg\nc,12.m4a\n")
    loader = DataLoader()

    assert loader.load_user_interactions(tmp_path / "x.csv")["item_id"][0] == "song.mp3"
    read = loader.load_user_interactions(tmp_path / "x.csv", strip_audio_suffix=True)

    assert read["item_id"].tolist() == ["song", "song", ".wav", "song.ogg", "12"]
    assert read["user_id"].tolist() == ["a.mp3", "b", "b", "c", "c"]


def test_a_filtered_frame_in_parquet_keeps_its_columns_only(tmp_path: Path) -> None:
    frame = FRAME.assign(item_id=pd.Categorical(["x", "y", "x"]))[FRAME["user_id"] == 1]
    frame.to_parquet(tmp_path / "x.parquet")

    read = DataLoader().load_user_interactions(tmp_path / "x.parquet", "parquet")

    assert list(read.columns) == list(FRAME.columns)
    assert read["item_id"].tolist() == ["y"]
    assert read.index.tolist() == [0]


@pytest.mark.parametrize("separator", ["", '"', "\n", "é", ",\n", "123456789"])
def test_what_is_no_separator_is_refused(separator: str, tmp_path: Path) -> None:
    write_csv(FRAME, tmp_path / "x.csv")
    with pytest.raises(ParameterError, match="separator must be one ASCII character"):
        DataLoader().load_user_interactions(tmp_path / "x.csv", separator=separator)


def test_a_wrong_separator_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id\titem_id\n1\t2\n")
    with pytest.raises(DataError, match=r"one column 'user_id\\titem_id'; is the separator a tab\?"):
        DataLoader().load_user_interactions(tmp_path / "x.csv", separator=",")


def test_other_columns_are_what_they_were(tmp_path: Path) -> None:
    header = "user_id,item_id,rating,zip,phone,big,exp,price,flag,,\n"
    rows = (
        "1,2,3,01234,+49123,9007199254740993,1E+05,1.50,true,,\n1,3,3,12345,+49124,,1.2E+05,2.25,false,,\n"
        "1,4,3,99999,112,7,3,1.5,true,,\n"
    )
    (tmp_path / "x.csv").write_text(header + rows)

    read = DataLoader().load_user_interactions(tmp_path / "x.csv")

    assert list(read.columns) == header.strip(",\n").split(",")
    assert read["zip"].tolist() == ["01234", "12345", "99999"]
    assert read["phone"].tolist() == ["+49123", "+49124", "112"]
    assert read["big"].tolist()[0] == 9007199254740993
    assert read["big"].isna().tolist() == [False, True, False]
    assert read["exp"].tolist() == ["1E+05", "1.2E+05", "3"]
    assert read["price"].tolist() == ["1.50", "2.25", "1.5"]
    assert read["flag"].tolist() == ["true", "false", "true"]


def test_repeated_other_columns_are_both_kept(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,note,note\n1,2,a,b\n")

    read = DataLoader().load_user_interactions(tmp_path / "x.csv")

    assert read[["note", "note.1"]].to_numpy().tolist() == [["a", "b"]]


@pytest.mark.parametrize("data_format", ["json", "parquet"])
def test_large_ints_beside_gaps_keep_their_digits(data_format: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if data_format == "json":
        path.write_text('[{"user_id": 1, "item_id": 2, "n": 9007199254740993}, {"user_id": 1, "item_id": 3}]')
    else:
        pq.write_table(pa.table({"user_id": [1, 1], "item_id": [2, 3], "n": [9007199254740993, None]}), path)

    read = DataLoader().load_user_interactions(path, data_format)

    assert read["n"].tolist()[0] == 9007199254740993
    assert read["n"].isna().tolist() == [False, True]


def test_json_columns_are_paired_by_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"user_id": {"0": 1, "1": 2}, "item_id": {"1": 20, "0": 10}}')

    read = DataLoader().load_user_interactions(path, "json")

    assert read[["user_id", "item_id"]].to_numpy().tolist() == [[1, 10], [2, 20]]
    path.write_text('{"user_id": {"0": 1, "1": 2}, "item_id": {"1": 20, "2": 10}}')
    with pytest.raises(DataError, match="column 'item_id' has a row '2' that the first column has not"):
        DataLoader().load_user_interactions(path, "json")


def test_columns_may_be_told_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("userID,artist_name,artist_id,timestamp\n1,a,2,3\n")

    read = DataLoader().load_user_interactions(tmp_path / "x.csv", user_col=None, item_col=None)

    assert read.to_dict("list") == {
        "userID": [1], "artist_name": ["a"], "artist_id": [2], "timestamp": [3], "rating": [1.0],
    }  # fmt: skip


CELLS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["", "007", "+1", "1e5", "True", "true", "x", " 1", "1.50", "-0", "9007199254740993", "0x1"]),
)


@given(cells=st.lists(CELLS, min_size=1, max_size=6))
def test_what_is_written_back_is_what_was_there(cells: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("data") / "x.csv"
    path.write_text("user_id,item_id,other\n" + "".join(f"1,{at},{cell}\n" for at, cell in enumerate(cells)))

    read = DataLoader().load_user_interactions(path)

    back = ["" if pd.isna(value) else str(value) for value in read["other"].tolist()]
    assert back == cells
