"""A data set's file: its format, its compression, and how it is opened."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from timbral.config.settings import Constants
from timbral.errors import DataError, DatasetNotFoundError, ParameterError

__all__ = ["SUPPORTED_FORMATS", "DatasetFile", "checked_format"]

SUPPORTED_FORMATS: Final = tuple(ending.removeprefix(".") for ending in Constants.SUPPORTED_DATA_FORMATS)
COMPRESSION_ENDINGS: Final = (".gz", ".bz2", ".zst", ".lz4")

COMPRESSIONS: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4"))
"""First bytes of a compressed file: they are believed, the ending is not. bz2 has a level digit in its own, see below."""

FREE_EXPANSION: Final = 256 * 2**20
MOST_EXPANSION: Final = 100
"""A compressed file may grow to 256 MB whatever its size, and beyond that to 100 times its size. Plays grow 3 to 15 times."""


def checked_format(name: str, data_format: str | None) -> str:
    """``data_format`` where it is one that we read; where it is None, what the ending of ``name`` says.

    Raises:
        ParameterError: it is none of SUPPORTED_FORMATS, or cannot be told from the ending.
    """
    if data_format is not None:
        if data_format not in SUPPORTED_FORMATS:
            raise ParameterError(f"Unsupported format {data_format!r}; supported: {', '.join(SUPPORTED_FORMATS)}")
        return data_format
    path = Path(name.lower())
    ending = Path(path.stem).suffix if path.suffix in COMPRESSION_ENDINGS else path.suffix
    if ending not in Constants.SUPPORTED_DATA_FORMATS:
        known = ", ".join(Constants.SUPPORTED_DATA_FORMATS)
        raise ParameterError(
            f"Unsupported format: {name!r} ends in none of {known} (with or without {', '.join(COMPRESSION_ENDINGS)}); "
            f"say its format: {', '.join(SUPPORTED_FORMATS)}"
        )
    return ending.removeprefix(".")


@dataclass(frozen=True)
class DatasetFile:
    """A file that may be read: on this machine, or on a pyarrow file system such as S3's.

    Attributes:
        name: what the caller calls it; what error messages call it too.
        path: where it lies.
        filesystem: where ``path`` lies on another file system than the operating system's.
        root: the folder that it must lie below, when it is opened too.
    """

    name: str
    path: str
    filesystem: fs.FileSystem | None = None
    root: str | None = None

    @classmethod
    def of(cls, filepath: str | os.PathLike[str] | DatasetFile) -> DatasetFile:
        """Any path on this machine, as it is."""
        if isinstance(filepath, DatasetFile):
            return filepath
        path = os.fsdecode(filepath)
        return cls(path, path)

    def open(self) -> Any:
        """The bytes as they are stored: a seekable binary file.

        Raises:
            DatasetNotFoundError: there is none.
            DataError: it is a folder, a pipe or a device, it may not be read, or it does not lie below ``root``.
        """
        try:
            return self._open_local() if self.filesystem is None else self.filesystem.open_input_file(self.path)
        except DataError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise DatasetNotFoundError(self.name) from None
        except IsADirectoryError:
            raise DataError("is a folder, not a file", self.name) from None
        except PermissionError:
            raise DataError("may not be read: permission denied", self.name) from None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"cannot be opened: {_first_line(error)}", self.name) from None

    def open_text(self) -> Any:
        """The bytes with gzip, bz2, zstd or lz4 undone: a binary file to be read from front to back.

        Reading raises DataError where the compressed bytes are damaged, cut off, or grow beyond MOST_EXPANSION.
        """
        file = self.open()
        head = file.read(16)
        file.seek(0)
        if head.startswith(b"\xfd7zXZ\x00"):
            file.close()
            raise DataError("is compressed with xz; gzip, bz2, zstd and lz4 are read", self.name)
        compression = next((name for magic, name in COMPRESSIONS if head.startswith(magic)), None)
        if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
            compression = "bz2"
        return file if compression is None else _Expanded(file, compression, self.name)

    def _open_local(self) -> io.FileIO:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError
            if not stat.S_ISREG(mode):
                raise DataError("is not a regular file", self.name)
            if self.root is not None and not _lies_below(descriptor, self.root):
                raise DataError("does not lie below the data folder", self.name)
            return os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise


class _Expanded:
    """A compressed file's content, read from front to back, with an end to how far it may grow."""

    def __init__(self, file: Any, compression: str, name: str) -> None:
        self._file = file
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), compression)
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
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"its compressed bytes are damaged or cut off: {_first_line(error)}", self._name) from None
        self._n_given += len(data)
        if self._n_given > FREE_EXPANSION and self._n_given > MOST_EXPANSION * self._file.tell():
            raise DataError(f"grows to more than {MOST_EXPANSION} times its size when decompressed", self._name)
        return data

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> _Expanded:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _lies_below(descriptor: int, root: str) -> bool:
    """Whether what was opened, whatever happened to links since the path was checked, lies below ``root``."""
    link = f"/proc/self/fd/{descriptor}"
    if not Path(link).exists():
        return True  # no /proc: the check of the path has to do
    return Path(os.path.realpath(link)).is_relative_to(root)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
