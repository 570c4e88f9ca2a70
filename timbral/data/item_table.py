"""Names of items from a file: an id's column and a name's or title's."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from timbral.data.column_names import looks_like_data
from timbral.data.column_words import name_columns
from timbral.data.csv_form import csv_form
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import format_of
from timbral.data.dataset_parts import dataset_parts
from timbral.data.odd_ids import is_plain_int
from timbral.data.read_options import ReadOptions
from timbral.data.tables import opened_tables
from timbral.errors import DataError

__all__ = ["read_item_names"]


def read_item_names(file: DatasetFile, separator: str | None = None) -> dict[int | str, str]:
    """Names by item id, from csv (UTF-8 or latin-1, with or without a header), json or parquet, one file or several.

    An id is an int where it is written as Python writes it; "007" and what needs more than 64 bits stay text.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError: it has no column of ids, or none of names; says which there are.
    """
    try:
        return _read(file, ReadOptions(separator=separator))
    except DataError as error:
        if "UTF-8" not in str(error):
            raise
    return _read(file, ReadOptions(separator=separator, encoding="latin-1"))


def _read(file: DatasetFile, options: ReadOptions) -> dict[int | str, str]:
    first = dataset_parts(file)[0].file
    if format_of(first) == "csv":
        form = csv_form(first, replace(options, user_col="id", item_col="name"))
        columns = form.names
        if looks_like_data(form.header[:1]) and name_columns(columns)[1] is None:
            columns = ["id", "name", *(f"column {at}" for at in range(2, len(columns)))]
            options = replace(options, columns=tuple(columns))
        options = replace(options, separator=form.separator)
    else:
        columns = _columns(file, options)
    id_col, name_col = name_columns(columns)
    if id_col is None or name_col is None:
        what = "ids" if id_col is None else "names"
        raise DataError(f"has no column of {what} (id, track_id, …; name, title, …); it has {columns}", file.name)
    options = replace(options, user_col=id_col, item_col=name_col, value_col=None, on_missing="drop")
    names: dict[int | str, str] = {}
    for _, table in opened_tables(file, options):
        for batch in table.batches:
            ids, texts = _texts(batch[id_col]), _texts(batch[name_col])
            plain = is_plain_int(ids).tolist()
            for item_id, name, is_int in zip(ids.to_pylist(), texts.to_pylist(), plain, strict=True):
                if item_id and name:
                    names[int(item_id) if is_int else item_id] = name
    return names


def _columns(file: DatasetFile, options: ReadOptions) -> list[str]:
    """The columns of a json or parquet file, whatever they are called."""
    try:
        _, table = next(opened_tables(file, replace(options, user_col="'id'", item_col="'name'", value_col=None)))
    except StopIteration:
        return []
    return table.columns


def _texts(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string())
