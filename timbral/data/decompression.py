"""Compressed bytes as they are read: told by how they begin, with an end to how far they may grow."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any, Final

import pyarrow as pa

from timbral.errors import DataError

__all__ = ["COMPRESSION_ENDINGS", "Expanded", "compression_of", "first_line"]

COMPRESSION_ENDINGS: Final = (".gz", ".bz2", ".zst", ".lz4", ".zip")

COMPRESSIONS: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4"))
"""First bytes of a compressed file: they are believed, the ending is not. bz2 has a level digit in its own, see
below."""

FREE_EXPANSION: Final = 256 * 2**20
MOST_EXPANSION: Final = 100
"""A compressed file may grow to 256 MB whatever its size, and beyond that to 100 times its size. Plays grow 3 to 15
times."""


def compression_of(head: bytes, name: str) -> str | None:
    """What Arrow calls the compression of a file that begins so; None where it has none.

    Raises:
        DataError: it is a form that is not read.
    """
    if head.startswith(b"\xfd7zXZ\x00"):
        raise DataError("is compressed with xz; gzip, bz2, zstd, lz4 and zip are read", name)
    if head[257:262] == b"ustar":
        raise DataError("is a tar archive: unpack it", name)
    if head.startswith((b"7z\xbc\xaf", b"Rar!")):
        raise DataError("is a 7z or rar archive: unpack it", name)
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "bz2"
    return next((compression for magic, compression in COMPRESSIONS if head.startswith(magic)), None)


class Expanded:
    """A compressed file's content, read from front to back.

    Args:
        stream: the content.
        file: the compressed file, which tells how far it was read.
        name: for error messages.
    """

    def __init__(self, stream: Any, file: Any, name: str) -> None:
        self._stream = stream
        self._file = file
        self._name = name
        self._n_given = 0

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._stream.read(size if size >= 0 else None)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException, RuntimeError) as error:
            raise DataError(f"its compressed bytes are damaged or cut off: {first_line(error)}", self._name) from None
        if not self._n_given:
            self._refuse_archives(data)
        self._n_given += len(data)
        if self._n_given > FREE_EXPANSION and self._n_given > MOST_EXPANSION * self._file.tell():
            raise DataError(f"grows to more than {MOST_EXPANSION} times its size when decompressed", self._name)
        return data

    def _refuse_archives(self, head: bytes) -> None:
        inner = compression_of(head, self._name)
        if inner is not None:
            raise DataError(f"is compressed twice, with {inner} inside: unpack it once", self._name)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Expanded:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its class where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
