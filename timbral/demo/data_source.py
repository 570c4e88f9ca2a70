"""The demo's data set: a listening history of its own making, or the user's file with its columns recognised."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from timbral.config.settings import Constants
from timbral.data.dataset_file import checked_format
from timbral.demo.synthetic import make_listening_history
from timbral.errors import DataError, DatasetNotFoundError, ParameterError

__all__ = ["DemoData", "own_history", "read_names", "recognise"]

SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
COLUMN_WORDS = {
    "user_col": r"user|user|customer|member|account|session|visitor",
    "item_col": r"item|artist|track|song|movie|album|product|book|game|sid\b",
    "value_col": r"rating|weight|plays?|count|score|listens|times|quantity|value|stars",
}
NAME_WORDS = r"name|title"


@dataclass(frozen=True)
class DemoData:
    """A data set and how to speak of it: ``columns`` are arguments of ``train_model``, ``names`` go by item id."""

    path: Path
    columns: dict[str, str]
    names: dict[int | str, str] = field(default_factory=dict)
    description: str = ""

    def name(self, item_id: int | str) -> str:
        """The item's name, or its id where it has none."""
        return self.names.get(item_id, str(item_id))


def own_history(directory: Path, random_state: int = 7) -> DemoData:
    """A few thousand users with tastes in genres, and named artists; written to ``directory``."""
    history = make_listening_history(random_state=random_state)
    path = directory / "plays.csv"
    history.write_csv(path)
    names = [f"{name} · {genre}" for name, genre in zip(history.artist_names, history.artist_genres, strict=True)]
    n_users, n_genres = len(history.user_genres), len(set(history.artist_genres))
    return DemoData(
        path=path,
        columns={"value_col": "plays"},
        names=dict(enumerate(names)),
        description=f"{n_users:,} users and {len(names):,} artists of {n_genres} genres, made up here",
    )


def recognise(
    path: Path,
    *,
    user_col: str | None = None,
    item_col: str | None = None,
    value_col: str | None = None,
    separator: str | None = None,
    names_path: Path | None = None,
) -> DemoData:
    """The user's file; what is not named is told from its header.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError: a column cannot be told from the header; names the columns that there are.
        ParameterError: the separator is not one character.
    """
    if not path.is_file():
        raise DatasetNotFoundError(str(path))
    known = any(ending in path.name.lower() for ending in Constants.SUPPORTED_DATA_FORMATS)
    file_format = checked_format(path.name, None if known else "csv")
    columns: dict[str, str] = {"format": file_format}
    if file_format == "csv":
        columns["separator"] = _separator(separator) or _sniff_separator(path)
    found = _header(path, file_format, columns.get("separator", ","))
    named = {"user_col": user_col, "item_col": item_col, "value_col": value_col}
    for argument, words in COLUMN_WORDS.items():
        column = named[argument] or _matching(found, words, taken=set(columns.values()))
        if column is not None:
            columns[argument] = column
        elif argument != "value_col":
            option = "--" + argument.replace("_", "-")
            raise DataError(f"cannot tell which of the columns {found} it is: name it with {option}", str(path))
    names = read_names(names_path) if names_path else {}
    told = ", ".join(
        f"{name.removesuffix('_col')} {value!r}" for name, value in columns.items() if name.endswith("_col")
    )
    return DemoData(path=path, columns=columns, names=names, description=f"{path} ({told})")


def read_names(path: Path, separator: str | None = None) -> dict[int | str, str]:
    """Names by item id, from a csv file with an id column and a name or title column."""
    if not path.is_file():
        raise DatasetNotFoundError(str(path))
    separator = separator or _sniff_separator(path)
    found = _header(path, "csv", separator)
    id_col = _matching(found, r"^id$|item.?id|artist.?id|track.?id|movie.?id", taken=set()) or found[0]
    name_col = _matching(found, NAME_WORDS, taken={id_col})
    if name_col is None:
        raise DataError(f"has no column called name or title; it has {found}", str(path))
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=separator, quote_char=False if separator == "\t" else '"'),
        convert_options=pa.csv.ConvertOptions(include_columns=[id_col, name_col], column_types={name_col: pa.string()}),
    )
    return dict(zip(table[id_col].to_pylist(), table[name_col].to_pylist(), strict=True))


def _separator(given: str | None) -> str | None:
    if given is None:
        return None
    separator = SEPARATORS.get(given.lower(), given.replace("\\t", "\t"))
    if len(separator) != 1:
        raise ParameterError(f"separator must be one character or one of {sorted(SEPARATORS)}, got {given!r}")
    return separator


def _sniff_separator(path: Path) -> str:
    with pa.input_stream(str(path), compression="detect") as stream:
        head: bytes = stream.read(65_536)
    line = head.decode("utf-8-sig", errors="replace").partition("\n")[0]
    return max(SEPARATORS.values(), key=line.count)


def _header(path: Path, file_format: str, separator: str) -> list[str]:
    if file_format == "parquet":
        return list(pa.parquet.read_schema(path).names)
    with pa.input_stream(str(path), compression="detect") as stream:
        head: bytes = stream.read(1 << 20)
    text = head.decode("utf-8-sig", errors="replace")
    if file_format == "json":
        first: dict[str, Any] = json.JSONDecoder().raw_decode(text.lstrip().lstrip("[").lstrip())[0]
        return list(first)
    return next(csv.reader([text.partition("\n")[0].rstrip("\r")], delimiter=separator), [])


def _matching(columns: list[str], words: str, taken: set[str]) -> str | None:
    return next((column for column in columns if column not in taken and re.search(words, column, re.IGNORECASE)), None)
