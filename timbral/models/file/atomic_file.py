"""Replacing a file so that a reader, a crash or a full disk never sees half of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from timbral.errors import ModelStoreError

__all__ = ["replace_file"]

TEMP_SUFFIX: Final = ".timbral-tmp"
LEFTOVER_AGE_S: Final = 3600.0
"""A temporary file that nobody wrote to for this long was left by a process that died."""


def replace_file(path: str | os.PathLike[str], parts: Iterable[bytes | memoryview]) -> None:
    """Write ``parts`` one after the other as the new content of ``path``; missing folders are made.

    The content goes to a file of its own in the same folder, is forced to disk, and then takes the name in one step:
    two writers never mix, and after an error the old file is as it was. Who has the old file open keeps the old
    content.

    Raises:
        ModelStoreError: it could not be written; names ``path`` and what the system said. No temporary file stays.
    """
    target = Path(os.fsdecode(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target.parent)
        temporary = target.parent / f".{secrets.token_hex(12)}{TEMP_SUFFIX}"
        try:
            _write(temporary, parts)
            # The name is taken over only now that the content is on disk.
            os.replace(temporary, target)  # noqa: PTH105 - os.replace says that it replaces
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _force_to_disk(target.parent)
    except OSError as error:
        raise ModelStoreError(str(target), error.strerror or str(error)) from error
    except ValueError as error:  # a path with a NUL in it
        raise ModelStoreError(repr(os.fspath(path)), str(error)) from error


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    # 0o666 less the umask, as open() would: mkstemp's 0o600 would hide a model from workers of another user.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:
                rest = rest[file.write(rest) :]
        os.fsync(descriptor)


def _force_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path) -> None:
    oldest = time.time() - LEFTOVER_AGE_S
    for leftover in folder.glob(f".*{TEMP_SUFFIX}"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime < oldest:
                leftover.unlink()
