"""A quote that is not around a field never makes two rows one, and never loses a character without a word."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbral.data import csv_stream
from timbral.errors import DataError
from timbral.utils.data_loader import DataLoader

load = DataLoader().load_csr
HEADER = "user_id,item_id,artist,rating\n"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_tab_separated_file_has_no_quoting(tmp_path: Path) -> None:
    text = 'user_id\titem_id\tartist\trating\nu1\ta\t"\t1\nu2\tb\tabba\t2\nu3\tc\t"\t3\nu4\td\tx\t4\n'
    path = write(tmp_path / "x.tsv", text)

    read = load(path)

    assert list(read.user_ids) == ["u1", "u2", "u3", "u4"]
    assert read.matrix.diagonal().tolist() == [1, 2, 3, 4]
    assert DataLoader().load_user_interactions(path)["artist"].tolist() == ['"', "abba", '"', "x"]


def test_a_hundred_thousand_rows_in_the_form_of_lastfm_360k_are_all_there(tmp_path: Path) -> None:
    names = [f"artist {n}" for n in range(2_000)]
    names[7], names[1_500] = '"Weird Al', '"'
    rows = [f"{n // 50:040x}\t\t{names[(n * 7919) % 2_000]}\t{n % 9 + 1}" for n in range(100_000)]

    read = load(write(tmp_path / "x.tsv", "\n".join(rows) + "\n"))

    assert read.n_rows == 100_000
    assert read.matrix.shape == (2_000, 2_000)
    assert read.matrix.sum() == sum(n % 9 + 1 for n in range(100_000))
    assert {'"', '"Weird Al'} <= set(read.item_ids)


def test_quotes_in_a_tab_separated_file_count_where_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", '"user_id"\t"item_id"\n"a"\t"b\tc"\n')

    for col in ("user_id", None):
        with pytest.raises(DataError, match=r"in its header are in quotes.*quoted=True"):
            load(path, user_col=col, item_col=col and "item_id")
    assert list(load(path, quoted=True).item_ids) == ["b\tc"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (['u1,a,",1', "u2,b,abba,2", 'u3,c,",3'], "data row 1 and the rows after it look like rows of their own"),
        (['u1,a,",1', 'u2,b,",2'], "data row 1 and the rows after it look like rows of their own"),
        (["u0,z,x,1", 'u1,a,"Heroes,1', 'u2,b,Blue 12",2'], "data row 2 and the rows after it look like rows"),
        (['u1,"x, y",",1', 'u2,b,",2'], "data row 1 and the rows after it look like rows of their own"),
        (["u0,z,x,1", 'u1,a,"Weird Al" Yankovic,1'], "data row 2 has something behind a field's closing quote"),
        (["u0,z,x,1", 'u1,a,"Heroes,1', "u2,b,c,2"], "data row 2 has a quote that is never closed"),
    ],
)
def test_a_malformed_quote_is_refused_with_its_row(rows: list[str], said: str, end: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", end.join([HEADER.strip(), *rows]) + end)

    for read in (load, DataLoader().load_user_interactions):
        with pytest.raises(DataError, match=f"{said}.*quoted=False"):
            read(path)
    if '"x, y"' not in rows[0]:
        assert load(path, quoted=False).n_rows == len(rows)


def test_quotes_that_belong_there_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    rows = 'u1,a,"x, ""y""\nz, w",1\nu2,b,"",2\nu3,c,12" mix,3\n"u4","d","a\n\nb",4\n'

    read = DataLoader().load_user_interactions(write(tmp_path / "x.csv", HEADER + rows))

    assert read["artist"].tolist()[0] == 'x, "y"\nz, w'
    assert read["artist"].tolist()[2:] == ['12" mix', "a\n\nb"]
    assert read["rating"].tolist() == [1, 2, 3, 4]


def test_lines_that_look_like_rows_are_one_text_where_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", HEADER + 'u1,a,"b,1\nc,d,e",2\n')

    with pytest.raises(DataError, match="quoted=True"):
        load(path)
    assert DataLoader().load_user_interactions(path, quoted=True)["artist"].tolist() == ["b,1\nc,d,e"]


FIELDS = st.text(alphabet='ab,"\n\r é', max_size=6)


@given(rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=12), chunk=st.sampled_from([5, 64, 2**20]))
def test_what_a_writer_quoted_is_read_as_it_was_or_refused(
    rows: list[tuple[str, str]], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["user_id", "item_id", "a", "b"])
    writer.writerows((at + 1, at + 1, *row) for at, row in enumerate(rows))
    path = write(tmp_path_factory.mktemp("data") / "x.csv", text.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_stream, "CHUNK_BYTES", chunk)
        trusted = DataLoader().load_user_interactions(path, quoted=True)
        try:
            careful = DataLoader().load_user_interactions(path)
        except DataError as error:
            said = str(error)
            careful = trusted
        else:
            said = "look like rows of their own"
    assert "look like rows of their own" in said

    for read in (trusted, careful):
        assert read["user_id"].tolist() == list(range(1, len(rows) + 1))
        for at, name in enumerate("ab"):
            assert ["" if value != value else str(value) for value in read[name]] == [row[at] for row in rows]


LINES = st.lists(st.text(alphabet='ab"', min_size=1, max_size=4), min_size=3, max_size=3)


@given(rows=st.lists(LINES, min_size=1, max_size=8))
def test_rows_of_a_writer_that_knows_no_quotes_are_never_joined(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [",".join([f"u{at}", *row, "1"]) for at, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("data") / "x.csv"
    write(path, "user_id,item_id,a,b,rating\n" + "\n".join(lines) + "\n")

    with contextlib.suppress(DataError):
        assert load(path).n_rows == len(rows)
    assert load(path, quoted=False).n_rows == len(rows)


def test_names_in_quotes_behind_spaces_are_names(tmp_path: Path) -> None:
    path = tmp_path / "playlists.csv"
    path.write_text('"user_id", "artistname", "trackname"\n"9c","Elvis, Costello","(The Angels)"\n')

    found = DataLoader().load_csr(path, item_col="artistname + trackname")
    assert list(found.item_ids) == ["Elvis, Costello – (The Angels)"]


@pytest.mark.parametrize("separator", [", ", "; "])
def test_spaces_before_quotes_are_no_part_of_an_id(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(f'user_id{separator}item_id\nann{separator}"b"\n')

    with pytest.raises(DataError, match="data row 1 has a space before a field's opening quote; write none"):
        DataLoader().load_csr(path)
    assert list(DataLoader().load_csr(path, quoted=False).item_ids) == [' "b"']
