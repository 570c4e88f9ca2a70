"""BlockStore: the arrays of one training, each in a file that is mapped, in a folder that all hosts see."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError, TrainingError

__all__ = ["BlockStore", "remove_old_stores"]

Array = npt.NDArray[Any]
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")
SUM_BYTES: Final = 8
"""Behind each array that is mapped."""
CACHE_LIFE_S: Final = 600.0
"""Seconds after which a cached array that nobody asked for again goes."""


class BlockStore:
    """The training ``name`` in ``folder``.

    Args:
        cache: a folder of this host's own, where arrays are copied to that all rows ask for; None where they are mapped
            from ``folder``.
    """

    def __init__(self, folder: Path, name: str, cache: Path | None = None) -> None:
        self.folder = Path(folder) / _checked(name)
        self._cache = None if cache is None else Path(cache) / name

    def exists(self) -> bool:
        """Whether the training goes on, seen from this host."""
        return self.folder.is_dir()

    def put(self, name: str, array: Array) -> None:
        """Write an array under a name that is new, or again what is there already; it is there whole or not at all.

        Raises:
            FileNotFoundError: the training has ended.
        """
        with self.new_file(name) as temporary:
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            total = _sum_of(np.memmap(temporary, np.uint8, "r"))
            with temporary.open("ab") as file:
                file.write(total)

    def put_all(self, name: str, arrays: dict[str, Array]) -> None:
        """Several arrays in one file, to be read once."""
        with self.new_file(name) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options

    def get(self, name: str) -> Array:
        """The array, mapped, read-only.

        Raises:
            TrainingError: the file is not as it was written.
        """
        return _mapped(self._here(name))

    def put_file(self, name: str, path: Path) -> None:
        """A copy of a file that is there; a second name of it where that can be, since nobody writes into either."""
        with self.new_file(name) as temporary:
            try:
                temporary.hardlink_to(path)
            except OSError:
                shutil.copyfile(path, temporary)

    def get_all(self, name: str) -> dict[str, Array]:
        """What ``put_all`` has written; its checksums are checked."""
        with np.load(self._here(name), allow_pickle=False) as arrays:
            return {one: arrays[one] for one in arrays.files}

    def get_near(self, name: str) -> Array:
        """The array, mapped from this host's cache, where the first that asks copies it to."""
        return _mapped(self.near(name))

    def near(self, name: str) -> Path:
        """The file on this host, where the first that asks copies it to; that in the store where no cache is."""
        if self._cache is None:
            return self.folder / _checked(name)
        self._cache.mkdir(parents=True, exist_ok=True)
        path = self._cache / _checked(name)
        with (self._cache / ".copying.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                remove_old_stores(self._cache.parent, CACHE_LIFE_S)
                _remove_old_files(self._cache, CACHE_LIFE_S)
                part = path.with_name(f".{name}.part")
                shutil.copyfile(self.folder / name, part)
                part.replace(path)
        return path

    def remove(self, prefix: str) -> None:
        """Remove the arrays whose names begin so, from here and this host's cache; who has one mapped keeps it."""
        for folder in (self.folder, self._cache):
            for path in () if folder is None else folder.glob(f"{prefix}*"):
                path.unlink(missing_ok=True)

    def open(self) -> None:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """The training has ended."""
        for folder in (self.folder, self._cache):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _here(self, name: str) -> Path:
        """The file that is mapped where a copy for this host does not pay."""
        return self.folder / _checked(name)

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """A file to write, which is there under ``name`` when it is whole.

        Raises:
            FileNotFoundError: the training has ended.
            TrainingError: it cannot be written, for want of room, say.
        """
        temporary = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            yield temporary
            # What is lost with a host's power is computed again: nothing is forced to disk.
            temporary.replace(self.folder / _checked(name))
        except FileNotFoundError:
            raise
        except OSError as error:
            problem = error.strerror or f"{error} (is there room?)"
            raise TrainingError(f"cannot write {name} into the training's store {self.folder}: {problem}") from error
        finally:
            temporary.unlink(missing_ok=True)


def remove_old_stores(folder: Path, older_than_s: float) -> None:
    """Remove what was left by trainings that were cut off and never came back."""
    oldest = time.time() - older_than_s
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            if path.is_dir() and path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def _remove_old_files(folder: Path, older_than_s: float) -> None:
    oldest = time.time() - older_than_s
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest and not path.name.startswith("."):
                path.unlink()


def _mapped(path: Path) -> Array:
    found = path.stat()
    if not _is_whole(path, found.st_ino, found.st_mtime_ns):
        raise TrainingError(f"{path} is damaged: its numbers do not add up to what they did when it was written")
    # Not as numpy's memmap, which no kernel has a signature for.
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return array


@functools.lru_cache(maxsize=10_000)
def _is_whole(path: Path, inode: int, changed_ns: int) -> bool:  # noqa: ARG001 - of each file that ever was at ``path``
    """Looked at once in a process. A kernel that reads past the end of an array, or another number, would not tell."""
    if path.stat().st_size < SUM_BYTES:
        return False
    written = np.memmap(path, np.uint8, "r")
    return _sum_of(written[:-SUM_BYTES]) == written[-SUM_BYTES:].tobytes()


def _sum_of(written: Array) -> bytes:
    """The bytes' sum, in words of 64 bits: as fast as memory is read, and another one where any word is."""
    words = len(written) // SUM_BYTES * SUM_BYTES
    total = int(np.add.reduce(written[:words].view("<u8"), initial=np.uint64(0)))
    total += int.from_bytes(written[words:].tobytes(), "little") + len(written)
    return (total % 2**64).to_bytes(SUM_BYTES, "little")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ParameterError(f"{name[:80]!r} cannot be the name of a block: letters, digits, '.', '_' and '-' only")
    return name
