"""How numpy arrays are spelt in a pickle, read without calling what the pickle names.

Used by ``plain_pickle``. An array's dtype is rebuilt from its code and checked, and its bytes must fit its shape
exactly, so a small pickle cannot ask for a large array.
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any, Final

__all__ = [
    "TOKENS",
    "DType",
    "NotPlainError",
    "Token",
    "Unbuilt",
    "UnbuiltArray",
    "UnbuiltDType",
    "array",
    "is_plain",
    "scalar",
]

MAX_DIMENSIONS: Final = 32
_CODE: Final = re.compile(r"^(b1|[iu][1248]|f2|f4|f8|f16|c8|c16|c32|[SU][0-9]{1,9}|[mM]8)$")
_UNIT: Final = re.compile(rb"^(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as|generic)$")


class NotPlainError(ValueError):
    """An array that is not one of numbers, strings or times, or that is damaged."""


class Token:
    """What the reader has on its stack that is not data."""


class DType(Token):
    """A checked numpy dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype


class Unbuilt(Token):
    """An object that was named and has no state yet; ``memo_keys`` are where its reader remembers it."""

    def __init__(self) -> None:
        self.memo_keys: list[int] = []

    def build(self, state: Any) -> Any:
        """The object with its state."""
        raise NotImplementedError


class UnbuiltDType(Unbuilt):
    """A dtype before its byte order is known."""

    def __init__(self, code: str) -> None:
        super().__init__()
        if not _CODE.match(code):
            raise NotPlainError(f"an array of dtype {code[:20]!r} is not plain data")
        self.code = code

    def build(self, state: Any) -> DType:
        if type(state) is not tuple or len(state) not in (8, 9) or state[0] not in (3, 4):
            raise NotPlainError("a dtype with a state that numpy never writes")
        order, subarray, names, fields = state[1:5]
        if order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None, None, None):
            raise NotPlainError("an array with fields or sub-arrays is not plain data")
        code = self.code + (_unit(state[8]) if len(state) == 9 and state[8] is not None else "")
        dtype = _numpy().dtype(order.replace("|", "=") + code)
        if dtype.hasobject:
            raise NotPlainError("an array of objects is not plain data")
        return DType(dtype)


class UnbuiltArray(Unbuilt):
    """An array before its shape, dtype and bytes are known."""

    def build(self, state: Any) -> Any:
        match state:
            case (1, tuple() as shape, DType() as dtype, bool() | 0 | 1 as is_fortran, bytes() as raw):
                return array(dtype, shape, "F" if is_fortran else "C", raw)
        raise NotPlainError("an array with a state that is not plain data")


TOKENS: Final = frozenset({Token, DType, UnbuiltDType, UnbuiltArray})


def array(dtype: DType, shape: tuple[Any, ...], order: str, raw: bytes | bytearray) -> Any:
    """The array of ``shape`` over ``raw``, writable; ``order`` is "C" or "F"."""
    if order not in ("C", "F") or len(shape) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise NotPlainError(f"an array of shape {str(shape)[:60]} and order {order[:5]!r}")
    itemsize = dtype.dtype.itemsize
    if math.prod(shape) * itemsize != len(raw) or (itemsize == 0 and math.prod(shape) > 1_000_000):
        raise NotPlainError(f"an array of shape {str(shape)[:60]} and dtype {dtype.dtype} has {len(raw)} bytes")
    numpy = _numpy()
    if not raw:
        return numpy.zeros(shape, dtype.dtype, order=order)
    made = numpy.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
    return made if made.flags.writeable else made.copy(order="K")


def scalar(dtype: DType, raw: bytes) -> Any:
    """The numpy scalar of ``dtype`` in ``raw``."""
    return array(dtype, (1,), "C", raw)[0]


def is_plain(value: Any) -> bool:
    """Whether ``value`` is an array or a scalar that ``plain_pickle`` reads, or a part of how numpy pickles one."""
    numpy = sys.modules.get("numpy")  # without numpy there is no array to tell
    if numpy is None:
        return False
    if type(value) is numpy.ndarray or isinstance(value, numpy.generic):
        return _is_plain_dtype(value.dtype)
    if isinstance(value, numpy.dtype):
        return _is_plain_dtype(value)
    if value is numpy.ndarray or value is numpy.dtype:
        return True
    name, module = getattr(value, "__name__", ""), getattr(value, "__module__", "") or ""
    return name in ("_frombuffer", "_reconstruct", "scalar") and module.partition(".")[0] == "numpy"


def _is_plain_dtype(dtype: Any) -> bool:
    code = dtype.str.lstrip("<>|=").partition("[")[0]
    return dtype.names is None and dtype.subdtype is None and bool(_CODE.match(code))


def _unit(metadata: Any) -> str:
    match metadata:
        case (None | {}, (bytes() as unit, int() as count, 1, 1)) if _UNIT.match(unit) and 0 < count < 2**31:
            return "" if unit == b"generic" else f"[{count}{unit.decode()}]"
    raise NotPlainError("a time dtype with metadata that is not plain data")


def _numpy() -> Any:
    try:
        import numpy  # here, because the thin install has none and reads plain containers all the same
    except ImportError:
        raise NotPlainError("it holds a numpy array, and numpy is not installed: pip install numpy") from None
    return numpy
