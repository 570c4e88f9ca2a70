"""Data sets as their publishers write them, and as programs of all kinds save them: read right, or refused with what
helps."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from timbral.data.data_report import report_line
from timbral.errors import DataError, MissingColumnsError
from timbral.utils.data_loader import DataLoader


def read(path: Path, **options: Any) -> Any:
    return DataLoader().load_csr(
        path, user_col=options.pop("user_col", None), item_col=options.pop("item_col", None), **options
    )


def written(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("events.csv", "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n", ("visitorid", "itemid", None)),
        ("rating.csv", "user_id,anime_id,rating\n1,20,7\n1,24,8\n", ("user_id", "anime_id", "rating")),
        ("review.json", '{"review_id": "r", "user_id": "u", "business_id": "b", "stars": 4.0}\n', ("user_id", "business_id", "stars")),
        (
            "NYC.csv",
            "userId,venueId,venueCategoryId,venueCategory,latitude,longitude,timezoneOffset,utcTimestamp\n"
            "470,49bbd6c0f964a520f4531fe3,4bf58dd8d48988d127951735,Arts,40.7,-74.0,-240,Tue Apr 03 18:00:09 +0000 2012\n",
            ("userId", "venueId", None),
        ),
    ],
)  # fmt: skip
def test_columns_of_public_data_sets_are_told(
    name: str, text: str, columns: tuple[str | None, ...], tmp_path: Path
) -> None:
    report = read(written(tmp_path, name, text)).report()

    assert (report["user_col"], report["item_col"], report["value_col"]) == columns


def test_lines_of_items_are_told_from_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "combined_data_1.txt", "1:\n1488844,3,2005-09-06\n2:\n2059652,4,2005-09-05\n")

    with pytest.raises(DataError, match="has lines of items, '1:', above those of their users"):
        read(path)
    with pytest.raises(DataError, match="has lines of items, '1:', above those of their users"):
        read(path, columns=["user", "rating", "date"])


def test_rows_within_an_object_are_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "mpd.slice.0-999.json", '{"info": {"v": 1}, "playlists": [{"pid": 0, "tracks": []}]}')

    with pytest.raises(MissingColumnsError, match="'playlists' is a list of objects: write each of them"):
        read(path)


def test_what_is_one_user_s_says_how_they_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "Song Title,Artist,ISRC,Date\nT,A,US1,2024-01-01 10:00:00\n")

    with pytest.raises(MissingColumnsError, match="of one user, give them a name: user_col=\"'me'\""):
        read(path)
    assert list(read(path, user_col="'me'").user_ids) == ["me"]


def test_a_name_with_a_space_is_quoted_for_the_shell(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "User,Artist Name,Song Name\n1,A,B\n")

    with pytest.raises(DataError, match="--item-col 'Artist Name'"):
        read(path)


def test_a_first_row_of_numbered_words_is_not_taken_for_a_header(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "user-1,item-7,3\nuser-2,item-8,4\n")

    with pytest.raises(DataError, match=r"has no header\? Its first row is \['user-1', 'item-7', '3'\]"):
        read(path)
    assert read(path, columns=["user_id", "item_id", "plays"]).n_rows == 2


@pytest.mark.parametrize("header", ["user,artist", "who,what"])
def test_a_header_is_not_taken_for_a_row_where_columns_are_named(header: str, tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", f"{header}\n1,5\n2,6\n")

    with pytest.raises(DataError, match=r"has a header, .*--user-col, --item-col"):
        read(path, columns=["who", "what"], user_col="who", item_col="what")


def test_a_row_of_titles_is_no_header(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "The Listener,Love Song\nAnn,B\n")

    assert read(path, columns=["user_id", "item_id"]).n_rows == 2


def test_a_folder_with_more_than_the_plays_says_that_all_of_it_is_read(tmp_path: Path) -> None:
    written(tmp_path, "ml/ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4\n")
    written(tmp_path, "ml/links.csv", "movieId,imdbId,tmdbId\n1,0114709,862\n")

    with pytest.raises(MissingColumnsError, match=r"its 2 files, links\.csv, ratings\.csv, .* name that one; "):
        read(tmp_path / "ml")


def test_a_linked_folder_is_not_left_out_in_silence(tmp_path: Path) -> None:
    written(tmp_path, "plays/2025/a.csv", "user_id,item_id\n1,2\n")
    written(tmp_path, "elsewhere/b.csv", "user_id,item_id\n1,3\n")
    (tmp_path / "plays" / "2024").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DataError, match="has a link to a folder in it, 2024, which is not followed"):
        read(tmp_path / "plays")


AS_SOMEBODY_ELSE = """
import os, sys
from timbral.cli.tasks import dataset_below
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_parts import dataset_files
from timbral.utils.data_loader import DataLoader
from pathlib import Path
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for read in (DataLoader().load_csr, lambda folder: dataset_files(DatasetFile.of(folder))):
    try:
        read(sys.argv[1])
    except ValueError as error:
        print(error)
print(dataset_below("plays/2024/a.csv", Path(sys.argv[1]).parent))
"""


def test_a_folder_that_may_not_be_read_is_not_left_out_in_silence() -> None:
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        folder = Path(made)
        folder.chmod(0o755)
        written(folder, "plays/2025/a.csv", "user_id,item_id\n1,2\n")
        closed = written(folder, "plays/2024/a.csv", "user_id,item_id\n1,3\n").parent
        closed.chmod(0)

        command = [sys.executable, "-c", AS_SOMEBODY_ELSE, str(folder / "plays")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        closed.chmod(0o755)

    *errors, below = done.stdout.splitlines()
    assert errors == [f"{made}/plays: a folder in it may not be read: {closed}: Permission denied"] * 2
    assert below == "plays/2024/a.csv"


def test_windows_quotes_and_dashes_in_what_is_called_latin_1(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "user,artist,plays\n1,Don’t – “Stop”,3\n1,Motörhead,2\n", "cp1252")

    assert list(read(path, encoding="latin-1").item_ids) == ["Don’t – “Stop”", "Motörhead"]


def test_an_encoding_that_was_said_needs_no_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "x.txt", "User\tArtist\tPlays\n1\tBjörk\t15\n", "utf-16-le")

    assert list(read(path, encoding="utf-16-le").item_ids) == ["Björk"]


def test_what_was_not_learnt_from_is_said(tmp_path: Path) -> None:
    text = '"User-ID";"ISBN";"Book-Rating"\n"1";"034545104X";"0"\n"1";"0155061224";"5"\n"2";"0446520802";"0"\n"3";"NULL";"7"\n'
    found = read(written(tmp_path, "BX-Book-Ratings.csv", text))

    report = found.report()

    assert report["entries_of_zero"] == 2
    assert (report["user_ids_like_none"], report["item_ids_like_none"]) == ([], ["NULL"])
    line = report_line(report, found.matrix.shape)
    assert "2 of value 0, not learnt from" in line
    assert "'NULL' among the item ids: missing ones?" in line
