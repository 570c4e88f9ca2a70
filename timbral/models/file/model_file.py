"""A model's file: safetensors, written atomically and mapped into memory, so that the workers of a host share one copy.

Any safetensors reader can read it. Reading runs nothing from the file and copies nothing but the header. The content
carries a CRC32 of each MiB: a file of up to ``WHOLE_BLOCKS`` of them is checked whole at each reading, at some GB a
second; of a larger one ``SAMPLED_BLOCKS`` blocks are, and ``read(path, verify=True)`` checks all of it. CRC32 tells
damage, not forgery.
"""

from __future__ import annotations

import mmap
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from timbral.errors import ModelFileError, ModelNotFoundError, ParameterError
from timbral.models.file.atomic_file import replace_file
from timbral.models.file.tensor_header import (
    Header,
    TensorPlace,
    check_header,
    header_bytes,
    header_length,
    parse_header,
    place_tensors,
)

__all__ = ["FORMAT_VERSION", "read", "write"]

FORMAT_VERSION: Final = 4
BLOCK_BYTES: Final = 2**20
WHOLE_BLOCKS: Final = 4096
SAMPLED_BLOCKS: Final = 16

_RESERVED: Final = "timbral."
_FORMAT_KEY: Final = "timbral.format"
_FORMAT: Final = "model"
_VERSION_KEY: Final = "timbral.format_version"
_BLOCKS_KEY: Final = "timbral.block_crc32"


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Replace ``path`` by a file of ``tensors`` (name → array of integers or floats) and ``metadata`` (text → text).

    Raises:
        ParameterError: a name, a dtype or a metadata value that the format cannot hold.
        ModelStoreError: no room, no permission, …; the old file is untouched.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not name.isprintable() or not name or name == "__metadata__":
            raise ParameterError(f"{name!r} cannot be the name of a tensor; it must be printable text")
        little = tensor.dtype.newbyteorder("<")
        arrays[name] = np.asarray(tensor, dtype=little, order="C").reshape(tensor.shape)
    texts = dict(metadata or {})
    for name, text in texts.items():
        if not isinstance(name, str) or not isinstance(text, str) or name.startswith(_RESERVED):
            raise ParameterError(f"metadata must be texts by name, no name with {_RESERVED!r} (got {name!r}: {text!r})")
    texts |= {_FORMAT_KEY: _FORMAT, _VERSION_KEY: str(FORMAT_VERSION)}
    try:
        places = place_tensors(arrays)
        # memoryview would refuse to cast an array without elements; there is nothing to write of it.
        contents = [arrays[name].reshape(-1).view(np.uint8) for name in places if arrays[name].size]
        texts[_BLOCKS_KEY] = "".join(f"{crc:08x}" for crc in _block_checksums(contents))
        head = header_bytes(Header(places, texts))
    except ValueError as error:  # UnicodeEncodeError too: a lone surrogate
        raise ParameterError(f"Cannot write {os.fspath(path)}: {error}") from error
    replace_file(path, [head, *(content.data for content in contents)])


def read(path: str | os.PathLike[str], *, verify: bool = False) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The tensors, read-only and mapped from the file, and the metadata that ``write`` was given.

    The arrays stay good when the file is replaced or deleted. ``verify`` checks every byte of the largest file too.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelFileError: it is damaged, cut off, from a newer timbral, or not a model file at all; names the file.
    """
    name = os.fsdecode(path)
    try:
        # O_NONBLOCK: a named pipe must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ModelNotFoundError(name) from None
    except (OSError, ValueError) as error:
        raise ModelFileError(name, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return _read(descriptor, verify)
    except ValueError as error:
        raise ModelFileError(name, str(error)) from error
    except OSError as error:
        raise ModelFileError(name, f"cannot be read: {error.strerror or error}") from error
    finally:
        os.close(descriptor)


def _read(descriptor: int, verify: bool) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"is {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}, not a model file")
    length = header_length(os.pread(descriptor, 8, 0), status.st_size)
    data_start = 8 + length
    header = parse_header(os.pread(descriptor, length, 8), status.st_size - data_start)
    metadata = header.metadata
    _check_format(metadata)
    check_header(header)
    mapped = np.frombuffer(mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ), np.uint8)
    data = mapped[data_start:]
    _check_blocks(data, metadata.pop(_BLOCKS_KEY, ""), verify)
    del metadata[_FORMAT_KEY], metadata[_VERSION_KEY]
    return {name: _tensor(data, data_start, name, place) for name, place in header.tensors.items()}, metadata


def _check_format(metadata: Mapping[str, str]) -> None:
    if metadata.get(_FORMAT_KEY) != _FORMAT:
        raise ValueError("is a safetensors file, but not a model of timbral")
    version = metadata.get(_VERSION_KEY, "")
    if not (version.isascii() and version.isdigit()) or version == "0":
        raise ValueError(f"is damaged: its format version is {version[:80]!r}")
    if int(version) < FORMAT_VERSION:
        raise ValueError(
            f"was written by an older timbral (format {version[:80]}; this one reads {FORMAT_VERSION}): train the "
            f"model again"
        )
    if version != str(FORMAT_VERSION):
        raise ValueError(f"was written by a newer timbral (format {version[:80]}; this one reads {FORMAT_VERSION})")


def _check_blocks(data: npt.NDArray[np.uint8], stored: str, verify: bool) -> None:
    n_blocks = -(-data.size // BLOCK_BYTES)
    if len(stored) != 8 * n_blocks:
        raise ValueError("is damaged: its checksums are not complete")
    if verify or n_blocks <= WHOLE_BLOCKS:
        chosen = list(range(n_blocks))
    else:  # the first, the last, and what lies evenly between
        chosen = [number * (n_blocks - 1) // (SAMPLED_BLOCKS - 1) for number in range(SAMPLED_BLOCKS)]
    for number in chosen:
        block = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        if f"{zlib.crc32(block.data):08x}" != stored[8 * number : 8 * number + 8]:
            raise ValueError(f"is damaged: the checksum of MiB {number} does not fit")


def _tensor(data: npt.NDArray[np.uint8], data_start: int, name: str, place: TensorPlace) -> npt.NDArray[Any]:
    if (data_start + place.start) % place.dtype.itemsize:
        raise ValueError(f"is damaged: tensor {name!r} is not aligned to its dtype")
    return data[place.start : place.stop].view(place.dtype).reshape(place.shape)


def _block_checksums(contents: list[npt.NDArray[np.uint8]]) -> Iterator[int]:
    """CRC32 of each MiB of ``contents`` taken as one string of bytes."""
    crc, room = 0, BLOCK_BYTES
    for content in contents:
        start = 0
        while start < content.size:
            piece = content[start : start + room]
            crc = zlib.crc32(piece.data, crc)
            start += piece.size
            room -= piece.size
            if not room:
                yield crc
                crc, room = 0, BLOCK_BYTES
    if room < BLOCK_BYTES:
        yield crc
