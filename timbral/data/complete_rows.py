"""The rows of a batch that have all they need: a user, an item, a value, a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.column_names import FoundColumns
from timbral.data.id_types import is_text, plain_ids
from timbral.data.places import Place, shown
from timbral.data.value_column import missing_values

__all__ = ["CompleteRows", "complete_rows"]

DROP_HINT = 'to leave such rows out: on_missing="drop" (--on-missing drop)'


@dataclass(frozen=True)
class CompleteRows:
    """Columns without nulls, ``value`` and ``time`` where there are such; and how many rows were left out."""

    user: pa.Array
    item: pa.Array
    value: pa.Array | None
    time: pa.Array | None
    place: Place
    n_dropped: int

    def __len__(self) -> int:
        return len(self.user)


def complete_rows(
    batch: pa.RecordBatch, found: FoundColumns, place: Place, *, drop: bool, believed: bool = False
) -> CompleteRows:
    """The columns of ``batch``, without the rows where one is missing.

    Args:
        believed: a row whose ids are the columns' names is a play, and no header in the middle.

    Raises:
        DataError: an id is missing, or a row is the header again, and ``drop`` is False; names the row.
    """
    columns: list[pa.Array] = [
        None if s is None else s.of_batch(batch) for s in (found.user, found.item, found.value, found.time)
    ]
    dropped = np.zeros(len(batch), dtype=bool)
    for source, array in ((found.user, columns[0]), (found.item, columns[1])):
        missing = _missing_ids(array)
        if missing is None:
            continue
        if not drop:
            at = int(missing.argmax())
            value = array[at].as_py()
            problem = "an id is missing" if value is None else f"the id {shown(value)} is empty"
            raise place.error(source.text, at, f"{problem}; {DROP_HINT}")
        dropped |= missing
    headers = None if believed else _headers(columns[0], columns[1], found)
    if headers is not None:
        if not drop:
            text = f"{found.user.text!r} is the header again, as where files were put one behind the other; {DROP_HINT}"
            raise place.error(found.user.text, int(headers.argmax()), text)
        dropped |= headers
    if drop:
        for array in columns[2:]:
            if array is not None:
                dropped |= missing_values(array)
    if dropped.any():
        kept = pa.array(~dropped)
        columns = [None if array is None else array.filter(kept) for array in columns]
        place = place.without(dropped)
    user, item, value, time = columns
    user, item = plain_ids(user, found.user.text, place), plain_ids(item, found.item.text, place)
    return CompleteRows(user, item, value, time, place, int(dropped.sum()))


def _missing_ids(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Which ids are null, empty or of spaces only; None where none is."""
    missing: npt.NDArray[np.bool_] | None = None
    if array.null_count:
        missing = array.is_null().to_numpy(zero_copy_only=False)
    texts = array.dictionary if pa.types.is_dictionary(array.type) else array
    if is_text(texts.type):
        try:
            blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
        except pa.ArrowInvalid:
            return missing  # no UTF-8; IdColumn says so
        if pc.any(blank).as_py():
            if texts is not array:
                blank = blank.take(array.indices)
            mask = pc.fill_null(blank, False).to_numpy(zero_copy_only=False)
            missing = mask if missing is None else missing | mask
    return missing if missing is not None and missing.any() else None


def _headers(users: pa.Array, items: pa.Array, found: FoundColumns) -> npt.NDArray[np.bool_] | None:
    """Which rows are the header again; None where none is."""
    headers: npt.NDArray[np.bool_] | None = None
    for array, source in ((users, found.user), (items, found.item)):
        texts = array.dictionary if pa.types.is_dictionary(array.type) else array
        if not is_text(texts.type):
            return None
        if pa.types.is_string_view(texts.type):
            texts = array = array.cast(pa.large_string())  # Arrow looks up none of this type
        names = pa.array([source.text, "\ufeff" + source.text], texts.type)
        is_name = pc.is_in(texts, value_set=names)
        if not pc.any(is_name, min_count=0).as_py():
            return None
        if texts is not array:
            is_name = is_name.take(array.indices)
        mask = pc.fill_null(is_name, False).to_numpy(zero_copy_only=False)
        headers = mask if headers is None else headers & mask
    return headers if headers is not None and headers.any() else None
