"""The header of a safetensors file: made, and read with the distrust that a file from anywhere deserves.

The format (https://github.com/huggingface/safetensors): 8 bytes, little endian, length of the header; the header, a
JSON object that gives each tensor's dtype, shape and place; then the tensors, without gaps.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

__all__ = [
    "MAX_HEADER_BYTES",
    "Header",
    "TensorPlace",
    "check_header",
    "header_bytes",
    "header_length",
    "parse_header",
    "place_tensors",
]

MAX_HEADER_BYTES: Final = 16 * 2**20
MAX_DIMENSIONS: Final = 8
ALIGNMENT: Final = 64
"""The first tensor starts at a multiple of this, a cache line."""
METADATA_KEY: Final = "__metadata__"
CRC_KEY: Final = "timbral.header_crc32"
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
_CODES: Final = {dtype: code for code, dtype in DTYPES.items()}


class TensorPlace(NamedTuple):
    """Where a tensor lies: ``start`` and ``stop`` in bytes after the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


class Header(NamedTuple):
    """What a header says: ``tensors`` by name, ``metadata`` text by name."""

    tensors: dict[str, TensorPlace]
    metadata: dict[str, str]


def place_tensors(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, TensorPlace]:
    """Places for ``tensors``: first those of whole cache lines, each of which then starts at one, so that no vector
    that a kernel reads lies in two; then the widest dtypes first, so that each is aligned. Raises ValueError on a
    dtype."""
    places: dict[str, TensorPlace] = {}
    start = 0
    for name, tensor in sorted(tensors.items(), key=_order):
        dtype = tensor.dtype.newbyteorder("<")
        if dtype not in _CODES:
            raise ValueError(f"tensor {name!r} has dtype {tensor.dtype}; a model file holds {sorted(map(str, _CODES))}")
        places[name] = TensorPlace(dtype, tensor.shape, start, start + tensor.nbytes)
        start += tensor.nbytes
    return places


def _order(named: tuple[str, npt.NDArray[Any]]) -> tuple[bool, int, str]:
    name, tensor = named
    return tensor.nbytes % ALIGNMENT != 0, -tensor.dtype.itemsize, name


def header_bytes(header: Header) -> bytes:
    """The length field and the header, padded so that the tensors start at a multiple of ``ALIGNMENT``."""
    content = _as_json_object(header)
    content[METADATA_KEY][CRC_KEY] = _checksum(content)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"the header takes {len(text)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    return struct.pack("<Q", len(text)) + text


def header_length(first_bytes: bytes, file_size: int) -> int:
    """The header's length from the first 8 bytes. Raises ValueError where it cannot be a length."""
    if len(first_bytes) < 8:
        raise ValueError(f"is not a model file: it has {file_size} bytes")
    length = int(struct.unpack("<Q", first_bytes[:8])[0])
    if first_bytes[0] == 0x80 and first_bytes[1] <= 5 and length > MAX_HEADER_BYTES:
        raise ValueError("is not a model file: it looks like a pickle, which is never loaded")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"is not a model file: its header would have {length} bytes")
    if length > file_size - 8:
        raise ValueError(f"is cut off: its header should have {length} bytes and the whole file has {file_size}")
    return length


def parse_header(text: bytes, data_bytes: int) -> Header:
    """Read and check the header ``text`` of a file with ``data_bytes`` bytes after it.

    Raises:
        ValueError: says what is wrong with it: not JSON, an unknown dtype, a place outside of the data or of another
            tensor, a gap, or a cut-off file.
    """
    try:
        content = json.loads(text.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not a model file: its header is not JSON ({_short(error)})") from None
    if not isinstance(content, dict):
        raise ValueError("is not a model file: its header is not a JSON object")
    metadata = content.pop(METADATA_KEY, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("is not a model file: its metadata are not texts by name")
    header = Header({name: _place(name, entry) for name, entry in content.items()}, metadata)
    _check_coverage(header.tensors, data_bytes)
    return header


def check_header(header: Header) -> None:
    """Take the header's own checksum out of its metadata. Raises ValueError where it does not fit or is not there."""
    stored = header.metadata.pop(CRC_KEY, None)
    if stored != _checksum(_as_json_object(header)):
        raise ValueError("is damaged: the checksum of its header does not fit")


def _place(name: str, entry: object) -> TensorPlace:
    problem = f"is damaged: tensor {_short(name)!r} "
    if not name or not name.isprintable():
        raise ValueError(problem + "has no printable name")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(problem + "must have dtype, shape and data_offsets, and nothing else")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise ValueError(problem + f"has the unknown dtype {_short(entry['dtype'])!r}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(problem + f"has the impossible shape {_short(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(problem + f"has the impossible data_offsets {_short(offsets)}")
    start, stop = offsets
    if math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(problem + f"has shape {_short(shape)} of {dtype} in {stop - start} bytes")
    return TensorPlace(dtype, tuple(shape), start, stop)


def _check_coverage(tensors: dict[str, TensorPlace], data_bytes: int) -> None:
    reached = 0
    for name, place in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if place.start != reached:
            raise ValueError(f"is damaged: tensor {_short(name)!r} starts at {place.start}, not at {reached}")
        reached = place.stop
    if reached != data_bytes:
        kind = "is cut off" if data_bytes < reached else "is damaged"
        raise ValueError(f"{kind}: its tensors should have {reached} bytes and {data_bytes} are there")


def _as_json_object(header: Header) -> dict[str, Any]:
    content: dict[str, Any] = {METADATA_KEY: dict(header.metadata)}
    for name, place in header.tensors.items():
        offsets = [place.start, place.stop]
        content[name] = {"dtype": _CODES[place.dtype], "shape": list(place.shape), "data_offsets": offsets}
    return content


def _checksum(content: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True, separators=(',', ':')).encode()):08x}"


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name comes twice")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
