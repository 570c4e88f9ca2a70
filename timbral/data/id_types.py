"""Arrow's types that can hold ids, brought to two: int64 and text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from timbral.data.places import Place, shown

__all__ = ["encoded_ids", "is_bytes", "is_text", "plain_ids"]

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_UUID_DIGITS = [*range(8), *range(9, 13), *range(14, 18), *range(19, 23), *range(24, 36)]


def encoded_ids(array: pa.Array, column: str, place: Place) -> pa.DictionaryArray:
    """``array`` without nulls as a dictionary of ints, texts or bytes.

    Raises:
        DataError: ids of this type are none; a decimal is no whole number, or does not fit 64 bits.
    """
    array = plain_ids(array, column, place)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return array
    if pa.types.is_floating(kind):
        text = f"ids must be ints or strings, got the float {array[0].as_py()}"
        raise place.error(column, 0, f"{text} (a table of ints with gaps, once in pandas?)")
    if not (pa.types.is_integer(kind) or is_text(kind) or is_bytes(kind)):
        raise place.error(column, 0, f"ids must be ints or strings, got {shown(array[0].as_py())} ({kind})")
    return array.dictionary_encode()


def plain_ids(array: pa.Array, column: str, place: Place) -> pa.Array:
    """``array`` without nulls: UUIDs as text, decimals as ints, all else as it is.

    Raises:
        DataError: a decimal is no whole number, or does not fit 64 bits.
    """
    if isinstance(array, pa.ExtensionArray):
        is_uuid = getattr(array.type, "extension_name", "") == "arrow.uuid"
        array = _uuid_texts(array.storage) if is_uuid else array.storage
    if pa.types.is_dictionary(array.type) and array.dictionary.null_count:
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type):
        return _whole(array, column, place)
    return array.cast(pa.binary()) if pa.types.is_fixed_size_binary(array.type) else array


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _whole(array: pa.Array, column: str, place: Place) -> pa.Array:
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:
        for at, value in enumerate(array.to_pylist()):
            if value != int(value):
                raise place.error(column, at, f"ids must be ints or strings, got the float {value}") from None
            if not -(2**63) <= int(value) < 2**63:
                raise place.error(column, at, f"the id {int(value)} does not fit 64 bits with a sign") from None
        raise


def _uuid_texts(storage: pa.Array) -> pa.Array:
    """UUIDs in their usual form; ``storage`` has 16 bytes each, and no nulls."""
    data = np.frombuffer(storage.buffers()[1], np.uint8)[storage.offset * 16 : (storage.offset + len(storage)) * 16]
    text = np.full((len(storage), 36), ord("-"), np.uint8)
    text[:, _UUID_DIGITS] = _HEX[data].reshape(len(storage), 32)
    offsets = pa.py_buffer(np.arange(0, 36 * len(storage) + 1, 36, dtype=np.int64))
    return pa.Array.from_buffers(pa.large_string(), len(storage), [None, offsets, pa.py_buffer(text)])
