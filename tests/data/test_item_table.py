"""Names of items from the files that data sets have beside the plays."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from timbral.data.dataset_file import DatasetFile
from timbral.data.item_table import read_item_names
from timbral.errors import DataError


def names_of(path: Path, content: str | bytes) -> dict[int | str, str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_item_names(DatasetFile.of(path))


def test_names_go_by_the_item_ids(tmp_path: Path) -> None:
    names = names_of(tmp_path / "artists.dat", 'id\tname\turl\n1\tThe "Quoted"\tx\n2\tBjörk [live]\ty\n')

    assert names == {1: 'The "Quoted"', 2: "Björk [live]"}


def test_ids_keep_their_zeros_and_their_digits(tmp_path: Path) -> None:
    names = names_of(tmp_path / "x.csv", f"track_id,title\n007,a\n{2**53 + 1},b\n{2**64},c\n")

    assert names == {"007": "a", 2**53 + 1: "b", str(2**64): "c"}


def test_latin_1_is_read_where_it_is_no_utf_8(tmp_path: Path) -> None:
    assert names_of(tmp_path / "x.csv", "id,name\n1,Motörhead\n".encode("latin-1")) == {1: "Motörhead"}


def test_json_and_parquet_have_names_too(tmp_path: Path) -> None:
    table = pa.table({"item_id": ["a"], "genre": ["x"], "title": ["A"]})
    parquet.write_table(table, tmp_path / "x.parquet")

    assert names_of(tmp_path / "x.jsonl", '{"id": 3, "name": "C"}\n{"id": 4, "name": null}\n') == {3: "C"}
    assert read_item_names(DatasetFile.of(tmp_path / "x.parquet")) == {"a": "A"}


def test_movielens_has_names_without_a_header(tmp_path: Path) -> None:
    assert names_of(tmp_path / "u.item", "1|Toy Story (1995)|01-Jan-1995||http\n") == {1: "Toy Story (1995)"}
    assert names_of(tmp_path / "movies.dat", "1::Léon (1994)::Crime\n".encode("latin-1")) == {1: "Léon (1994)"}


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column of names .*it has \['id', 'year'\]"):
        names_of(tmp_path / "x.csv", "id,year\n1,2000\n")
