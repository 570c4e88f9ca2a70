"""A column of plays or ratings, checked."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.id_types import is_text
from timbral.data.odd_ids import is_missing
from timbral.data.places import Place, shown
from timbral.errors import DataError

__all__ = ["checked_values", "missing_values", "not_a_number"]

LARGEST: Final = float(np.finfo(np.float32).max)
NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^(?i)[+-]?(inf|infinity|nan)$"
DECIMAL_COMMA: Final = r"^[+-]?[0-9]+,[0-9]+$"
THOUSANDS: Final = r"^[+-]?[0-9]{1,3}([.,'\x{2019} \x{a0}\x{202f}][0-9]{3})+([.,][0-9]+)?$"


def missing_values(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values are not there: null, NaN, an empty text or a word for it."""
    if is_text(array.type):
        return is_missing(array)
    mask: npt.NDArray[np.bool_] = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return mask


def checked_values(array: pa.Array, column: str, place: Place, decimal: str = ".") -> npt.NDArray[np.float64]:
    """``array`` as float64: finite, 0 or more, and within float32. Texts are numbers with the ``decimal`` mark.

    Raises:
        DataError: names the column and the first row that is not so.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return checked_values(array.dictionary_decode(), column, place, decimal)
    if array.null_count:
        at = pc.index(array.is_null(), True).as_py()
        raise place.error(column, at, 'a value is missing; to leave such rows out: on_missing="drop"')
    if is_text(kind):
        array = _numbers(array, column, place, decimal)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise place.error(column, 0, f"{shown(array[0].as_py())} ({kind}) is not a number")
    values: npt.NDArray[np.float64] = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    good = (values >= 0) & (values <= LARGEST)
    if not good.all():
        at = int(np.argmin(good))
        raise place.error(column, at, _problem(float(values[at])))
    return values


def not_a_number(text: str, column: str, at: int, place: Place) -> DataError:
    """The error for a text that is no number."""
    if not text.strip():
        return place.error(column, at, 'a value is missing; to leave such rows out: on_missing="drop"')
    hint = ""
    if pc.match_substring_regex(pa.array([text.strip()]), THOUSANDS)[0].as_py():
        hint = "; thousands must be written without a mark between them"
        if text.count(",") == 1 and "." not in text:
            hint += ', and where this comma is a decimal one, say decimal=","'
    elif pc.match_substring_regex(pa.array([text.strip()]), DECIMAL_COMMA)[0].as_py():
        hint = '; with a decimal comma: decimal=","'
    elif is_missing(pa.array([text]))[0]:
        hint = '; to leave such rows out: on_missing="drop"'
    return place.error(column, at, f"{shown(text)} is not a number{hint}")


def _numbers(array: pa.Array, column: str, place: Place, decimal: str) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(array)
    numbers = pc.match_substring_regex(trimmed, NUMBER if decimal == "." else NUMBER.replace(r"\.", decimal))
    if not pc.all(numbers, min_count=0).as_py():
        at = pc.index(numbers, False).as_py()
        raise not_a_number(array[at].as_py(), column, at, place)
    return (trimmed if decimal == "." else pc.replace_substring(trimmed, decimal, ".")).cast(pa.float64())


def _problem(value: float) -> str:
    if np.isnan(value):
        return 'NaN is not a number of plays or a rating; leave the row out (on_missing="drop" does)'
    text = f"{value:g}"
    if value < 0:
        return f"{text} is negative; plays and ratings must be 0 or more"
    if np.isinf(value):
        return "infinity is not a number of plays or a rating"
    return f"{text} is too large; values must be at most {LARGEST:.3g}"
