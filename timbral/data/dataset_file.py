"""A data set's file: where it lies, and how it is opened."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from timbral.data.decompression import Expanded, compression_of, first_line
from timbral.errors import DataError, DatasetNotFoundError

__all__ = ["DatasetFile"]

MOST_UNPACKED_PARQUET: Final = 2**30
"""A parquet file within a zip has to be unpacked into memory to be read."""


@dataclass(frozen=True)
class DatasetFile:
    """A file or a folder that may be read: on this machine, or on a pyarrow file system such as S3's.

    Attributes:
        name: what the caller calls it; what error messages call it too.
        path: where it lies.
        filesystem: where ``path`` lies on another file system than the operating system's.
        root: the folder that it must lie below, when it is opened too.
        member: its name within the zip archive at ``path``.
    """

    name: str
    path: str
    filesystem: fs.FileSystem | None = None
    root: str | None = None
    member: str | None = None

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
        if self.member is not None:
            with self.open_text() as unpacked:
                data = unpacked.read(MOST_UNPACKED_PARQUET + 1)
            if len(data) > MOST_UNPACKED_PARQUET:
                raise DataError("is too large to be read within a zip: unpack it", self.name)
            return io.BytesIO(data)
        return self._open()

    def open_text(self) -> Any:
        """The bytes with gzip, bz2, zstd, lz4 or zip undone: a binary file to be read from front to back.

        Reading raises DataError where the compressed bytes are damaged, cut off, or grow beyond what data do.
        """
        file = self._open()
        if self.member is not None:
            try:
                unpacked = zipfile.ZipFile(file).open(self.member)  # noqa: SIM115 - closed with what is returned
            except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
                file.close()
                raise DataError(f"cannot be unpacked: {first_line(error)}", self.name) from None
            return Expanded(unpacked, file, self.name)
        head = file.read(300)
        file.seek(0)
        try:
            compression = compression_of(head, self.name)
        except DataError:
            file.close()
            raise
        if compression is None:
            return file
        return Expanded(pa.CompressedInputStream(pa.PythonFile(file, "r"), compression), file, self.name)

    def _open(self) -> Any:
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
            raise DataError(f"cannot be opened: {first_line(error)}", self.name) from None

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


def _lies_below(descriptor: int, root: str) -> bool:
    """Whether what was opened, whatever happened to links since the path was checked, lies below ``root``."""
    link = f"/proc/self/fd/{descriptor}"
    if not Path(link).exists():
        return True  # no /proc: the check of the path has to do
    return Path(os.path.realpath(link)).is_relative_to(root)
