"""A column of times as int64 that can be compared within one data set."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.id_types import is_text
from timbral.data.places import Place, shown
from timbral.errors import DataError

__all__ = ["MICROSECONDS", "TimeColumn"]

MICROSECONDS: Final = 1_000_000
UNITS: Final = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
PLAUSIBLE_SECONDS: Final = (500_000_000, 10_000_000_000)
"""Whole numbers of a unit that lie between these, 1985 to 2286, are told to be of it."""
TEXT_KINDS: Final = ("int", "float", "timestamp", "timestamp with a zone")


class TimeColumn:
    """Turns batches of times into int64, larger is newer.

    Ints stay what they are, in their own unit. Floats (taken for seconds), timestamps, dates and ISO 8601 text become
    microseconds (since 1970 where they are dates). One data set keeps to one of these kinds, but for ints and floats:
    the ints are seconds then, and ``in_seconds`` says that those before were.

    Args:
        column: its name, for error messages.
        time_format: how texts are written, in strptime's letters; numbers or ISO 8601 where None.
    """

    def __init__(self, column: str, time_format: str | None = None) -> None:
        self.column = column
        self.in_seconds = False
        self._time_format = time_format
        self._kind: str | None = None
        self._unit: tuple[str, int] | None = None

    @property
    def is_whole_numbers(self) -> bool:
        """Whether the times were whole numbers, which stay in a unit that the column does not know."""
        return self._kind == "int"

    @property
    def kind(self) -> str | None:
        """What the times were so far: "int", "float", "timestamp" or "timestamp with a zone"."""
        return self._kind

    def times(self, array: pa.Array, place: Place) -> npt.NDArray[np.int64]:
        """int64 (n_rows,) of a batch without nulls.

        Raises:
            DataError: a time is missing, is no time, or is of another kind than those before.
        """
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if array.null_count:
            at = pc.index(array.is_null(), True).as_py()
            raise self._error(place, at, 'a time is missing; to leave such rows out: on_missing="drop"')
        if is_text(array.type):
            return self._from_text(array, place)
        kind = _kind(array.type)
        if kind is None:
            raise self._error(place, 0, f"{shown(array[0].as_py())} ({array.type}) is not a time")
        return self._converted(array, kind, place)

    def _from_text(self, array: pa.Array, place: Place) -> npt.NDArray[np.int64]:
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        if self._time_format is not None:
            parsed = pc.strptime(array, self._time_format, "us", error_is_null=True)
            if parsed.null_count:
                at = pc.index(parsed.is_null(), True).as_py()
                raise self._error(place, at, f"{shown(array[at].as_py())} is not written as {self._time_format!r}")
            at = _no_such_day(array, parsed, self._time_format)
            if at is not None:
                raise self._error(place, at, f"{shown(array[at].as_py())} is a day that there is not")
            return self._converted(parsed, "timestamp", place)
        texts, array = array, _iso(array)
        kinds = _text_kinds(self._kind)
        for kind in kinds:
            parsed = _parsed(array, kind)
            if parsed is not None:
                return self._converted(parsed, kind, place)
        starts_as = self._kind or next((kind for kind in kinds if _parsed(array.slice(0, 1), kind) is not None), None)
        if starts_as is None:
            shown_text = shown(texts[0].as_py())
            text = f"{shown_text} is no time: neither a number nor ISO 8601; say how it is written: time_format"
            raise self._error(place, 0, text)
        at = next(at for at in range(len(array)) if _parsed(array.slice(at, 1), starts_as) is None)
        text = f"{shown(texts[at].as_py())} is not a time of the same kind ({starts_as}) as the first"
        raise self._error(place, at, text)

    def _converted(self, array: pa.Array, kind: str, place: Place) -> npt.NDArray[np.int64]:
        if self._kind == "float" and kind == "int":
            kind = "float"
        elif self._kind == "int" and kind == "float":
            self.in_seconds = True
        elif self._kind not in (None, kind):
            raise self._error(place, 0, f"times are {kind} here and {self._kind} before")
        self._kind = kind
        try:
            if kind == "int":
                ints: npt.NDArray[np.int64] = array.cast(pa.int64()).to_numpy(zero_copy_only=False)
                self._refuse_other_unit(ints, place)
                return ints
            if kind == "float":
                return self._from_seconds(array.cast(pa.float64()).to_numpy(zero_copy_only=False), place)
            zone = array.type.tz if pa.types.is_timestamp(array.type) else None
            moments = array.cast(pa.timestamp("us", zone), safe=False)
            micros: npt.NDArray[np.int64] = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
            return micros
        except pa.ArrowInvalid:
            raise self._error(place, 0, "a time does not fit 64 bits (in this row or one of the next)") from None

    def _refuse_other_unit(self, ints: npt.NDArray[np.int64], place: Place) -> None:
        """Two files in one, of seconds and of milliseconds, have an order that is none."""
        low, high = PLAUSIBLE_SECONDS
        for unit, per_second in UNITS.items():
            among = (ints >= low * per_second) & (ints < high * per_second)
            if not among.any():
                continue
            at = int(among.argmax())
            if self._unit is None:
                self._unit = unit, int(ints[at])
            elif self._unit[0] != unit:
                text = f"{ints[at]} looks like {unit}, and {self._unit[1]} in another row like {self._unit[0]}"
                raise self._error(place, at, f"{text}: write all times in one unit")

    def _from_seconds(self, seconds: npt.NDArray[np.float64], place: Place) -> npt.NDArray[np.int64]:
        good = np.abs(seconds) < 2**63 / MICROSECONDS
        if not good.all():
            at = int(np.argmin(good))
            raise self._error(place, at, f"{seconds[at]} is not a time")
        micros: npt.NDArray[np.int64] = np.round(seconds * MICROSECONDS).astype(np.int64)
        return micros

    def _error(self, place: Place, at: int, problem: str) -> DataError:
        return place.error(self.column, at, problem)


def _no_such_day(texts: pa.Array, parsed: pa.Array, time_format: str) -> int | None:
    """The place of the first text that is no day of the calendar, such as 31.02.2024: Arrow takes it for 2 March."""
    early = pc.less_equal(pc.day(parsed), 4)  # a zone may move it by a day
    late = pc.and_(early, pc.match_substring_regex(texts, "29|30|31"))
    for at in np.flatnonzero(late.to_numpy(zero_copy_only=False)):
        try:
            datetime.strptime(texts[int(at)].as_py(), time_format)
        except ValueError as error:
            if "day is out of range" in str(error):
                return int(at)
    return None


def _iso(texts: pa.Array) -> pa.Array:
    """A zone that is called UTC as Z, and no more of a second's fraction than microseconds."""
    utc = pc.replace_substring_regex(texts, r"(?i)\s*(UTC|GMT)$", "Z")
    return pc.replace_substring_regex(utc, r"(:[0-9]{2}\.[0-9]{6})[0-9]+", r"\1")


def _text_kinds(kind: str | None) -> tuple[str, ...]:
    if kind is None:
        return TEXT_KINDS
    return ("int", "float") if kind == "int" else (kind,)


def _kind(data_type: pa.DataType) -> str | None:
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
