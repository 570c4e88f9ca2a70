"""A column of times as int64 that can be compared within one data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.errors import DataError

__all__ = ["TimeColumn"]

MICROSECONDS = 1_000_000


class TimeColumn:
    """Turns batches of times into int64, larger is newer.

    Ints stay what they are, in their own unit. Floats (taken for seconds), timestamps, dates and ISO 8601 text become
    microseconds (since 1970 where they are dates). One data set keeps to one of these kinds.
    """

    def __init__(self, column: str, filepath: str) -> None:
        self.column = column
        self.filepath = filepath
        self._kind: str | None = None

    @property
    def is_whole_numbers(self) -> bool:
        """Whether the times were whole numbers, which stay in a unit that the column does not know."""
        return self._kind == "int"

    def times(self, array: pa.Array, first_row: int) -> npt.NDArray[np.int64]:
        """int64 (n_rows,) of a batch; ``first_row`` is the data row of its first value.

        Raises:
            DataError: a time is missing, is no time, or is of another kind than those before.
        """
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if array.null_count:
            raise self._error(first_row + pc.index(array.is_null(), True).as_py(), "a time is missing")
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            return self._from_text(array, first_row)
        kind = _kind(array.type)
        if kind is None:
            raise self._error(first_row, f"{array[0].as_py()!r} ({array.type}) is not a time")
        return self._converted(array, kind, first_row)

    def _from_text(self, array: pa.Array, first_row: int) -> npt.NDArray[np.int64]:
        kinds = [self._kind] if self._kind else ["int", "float", "timestamp", "timestamp with a zone"]
        for kind in kinds:
            parsed = _parsed(array, kind)
            if parsed is not None:
                return self._converted(parsed, kind, first_row)
        texts = array.to_pylist()
        starts_as = self._kind or next((kind for kind in kinds if _parsed(pa.array(texts[:1]), kind) is not None), None)
        if starts_as is None:
            raise self._error(first_row, f"{texts[0]!r} is no time: neither a number nor ISO 8601")
        at = next(at for at, text in enumerate(texts) if _parsed(pa.array([text]), starts_as) is None)
        raise self._error(first_row + at, f"{texts[at]!r} is not a time of the same kind ({starts_as}) as the first")

    def _converted(self, array: pa.Array, kind: str, first_row: int) -> npt.NDArray[np.int64]:
        if self._kind not in (None, kind):
            raise self._error(first_row, f"times are {kind} here and {self._kind} before")
        self._kind = kind
        try:
            if kind == "int":
                ints: npt.NDArray[np.int64] = array.cast(pa.int64()).to_numpy(zero_copy_only=False)
                return ints
            if kind == "float":
                return self._from_seconds(array.cast(pa.float64()).to_numpy(zero_copy_only=False), first_row)
            zone = array.type.tz if pa.types.is_timestamp(array.type) else None
            moments = array.cast(pa.timestamp("us", zone), safe=False)
            micros: npt.NDArray[np.int64] = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
            return micros
        except pa.ArrowInvalid:
            raise self._error(first_row, "a time does not fit 64 bits (in this row or one of the next)") from None

    def _from_seconds(self, seconds: npt.NDArray[np.float64], first_row: int) -> npt.NDArray[np.int64]:
        good = np.abs(seconds) < 2**63 / MICROSECONDS
        if not good.all():
            at = int(np.argmin(good))
            raise self._error(first_row + at, f"{seconds[at]} is not a time")
        micros: npt.NDArray[np.int64] = np.round(seconds * MICROSECONDS).astype(np.int64)
        return micros

    def _error(self, row: int, problem: str) -> DataError:
        return DataError(f"column {self.column!r}, data row {row}: {problem}", self.filepath)


def _kind(data_type: Any) -> str | None:
    if pa.types.is_integer(data_type):
        return "int"
    if pa.types.is_floating(data_type):
        return "float"
    if pa.types.is_date(data_type):
        return "timestamp"
    if pa.types.is_timestamp(data_type):
        return "timestamp with a zone" if data_type.tz else "timestamp"
    return None


def _parsed(array: pa.Array, kind: str | None) -> pa.Array | None:
    targets = {"int": pa.int64(), "float": pa.float64(), "timestamp": pa.timestamp("us")}
    try:
        return array.cast(targets.get(str(kind), pa.timestamp("us", "UTC")))
    except pa.ArrowInvalid:
        return None
