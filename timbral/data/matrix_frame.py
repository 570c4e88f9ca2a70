"""The users × items matrix of a table of interactions, as pandas holds it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from timbral.data.column_names import found_columns
from timbral.data.complete_rows import complete_rows
from timbral.data.id_column import IdColumn
from timbral.data.places import Place
from timbral.data.read_options import ReadOptions
from timbral.data.value_column import checked_values
from timbral.errors import DataError, MissingColumnsError

__all__ = ["matrix_frame"]

FRAME: Final = "interactions_df"


def matrix_frame(frame: pd.DataFrame, options: ReadOptions) -> tuple[pd.DataFrame, list[Any], list[Any]]:
    """The matrix and its labels; see ``DataLoader.create_user_item_matrix``."""
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{FRAME} must be a pandas DataFrame, got {_described(frame)}")
    options.checked()
    named = [name for name in frame.columns if isinstance(name, str)]
    try:
        found = found_columns(options, named, FRAME)
    except MissingColumnsError as error:
        others = [name for name in frame.columns if not isinstance(name, str)]
        if others:
            known = f"columns must have text for names, got {others[:4]}"
            raise DataError(f"{known}: {FRAME}.columns = ['user_id', 'item_id', …] names them", FRAME) from None
        raise MissingColumnsError(error.args[0]) from None
    if not len(frame):
        raise DataError("has no rows", FRAME)
    arrays = {
        name: _arrow(frame[name], "not a number")
        if found.value is not None and name in found.value.columns
        else _arrow(frame[name], "ids must be ints or strings, all of one kind")
        for name in found.columns
    }
    drop = options.on_missing == "drop"
    rows = complete_rows(pa.RecordBatch.from_pydict(arrays), found, Place(FRAME), drop=drop)
    if not len(rows):
        raise DataError("has no row with all it needs", FRAME)
    labels, codes = [], []
    for source, array in ((found.user, rows.user), (found.item, rows.item)):
        column = IdColumn(source.text, drop_odd=drop)
        column.add(array, rows.place)
        column_codes = column.take_codes()
        ids, final = column.index()
        labels.append(ids)
        codes.append(final[column_codes])
    values = np.ones(len(rows))
    if found.value is not None:
        values = checked_values(rows.value, found.value.text, rows.place, options.decimal)
        if not values.any():
            raise DataError(f"column {found.value.text!r}: every value is 0; there is nothing to learn from", FRAME)
    kept = (codes[0] >= 0) & (codes[1] >= 0)
    if not kept.any():
        raise DataError("has no row with all it needs", FRAME)
    # Whoever is in rows only that are left out is none of the users.
    left = [np.unique(one[kept], return_inverse=True) for one in codes]
    indexes = [pd.Index(ids.ids(used)) for ids, (used, _) in zip(labels, left, strict=True)]
    entries = pd.DataFrame({"user": left[0][1], "item": left[1][1], "value": values[kept]})
    if options.repeats != "sum":
        entries = getattr(entries.groupby(["user", "item"], sort=False)["value"], options.repeats)().reset_index()
    shape = (len(indexes[0]), len(indexes[1]))
    data, rows_at, columns_at = (entries[name].to_numpy() for name in ("value", "user", "item"))
    matrix = sparse.coo_matrix((data, (rows_at, columns_at)), shape=shape).tocsc()
    matrix.eliminate_zeros()
    made: pd.DataFrame = pd.DataFrame.sparse.from_spmatrix(  # type: ignore[attr-defined]  # the stub does not have it
        matrix, index=indexes[0], columns=indexes[1]
    )
    made.index.name, made.columns.name = found.user.text, found.item.text
    return made, indexes[0].tolist(), indexes[1].tolist()


def _described(data: object) -> str:
    """Another library's frame is called DataFrame, too."""
    kind = type(data)
    whose = kind.__module__.partition(".")[0]
    if whose == "builtins":
        return kind.__name__
    return f"{whose}.{kind.__name__}" + (": its to_pandas() gives one" if hasattr(data, "to_pandas") else "")


def _arrow(series: Any, expected: str) -> pa.Array:
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        kind = type(series.iloc[0])
        at = next((at for at, value in enumerate(series) if type(value) is not kind or not _fits(value)), 0)
        text = f"column {series.name!r}, data row {at + 1}: {series.iloc[at]!r}: {expected}"
        raise DataError(text, FRAME) from None
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _fits(value: Any) -> bool:
    try:
        pa.array([value])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return False
    return True
