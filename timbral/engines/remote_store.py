"""RemoteStore: the arrays of one training as objects on S3, which each host fetches once and maps from its cache."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from timbral.engines.block_store import BlockStore, remove_old_stores
from timbral.versions.model_archive import ModelArchive, folder_below

__all__ = ["RemoteStore"]

MARK: Final = "open"
CACHE_LIFE_S: Final = 3600.0
"""Seconds after which what this host has of a training goes of which nothing more is fetched."""


class RemoteStore(BlockStore):
    """The training ``name`` below ``uri``; ``cache`` is a folder of this host's own."""

    def __init__(self, uri: str, name: str, cache: Path) -> None:
        super().__init__(cache, name)
        self._uri = folder_below(uri, name)

    def exists(self) -> bool:
        return self._archive.names(MARK) == [MARK]

    def near(self, name: str) -> Path:
        """The file on this host, where the first that asks fetches it.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._here(name)

    def _here(self, name: str) -> Path:
        path = super()._here(name)
        if not path.exists():
            remove_old_stores(self.folder.parent, CACHE_LIFE_S)
            self._archive.fetch(path)
            self._drop_older_halves(name)
        return path

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """A file to write, which is on S3 under ``name`` when it is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with super().new_file(name) as temporary:
            yield temporary
        self._archive.put(self.folder / name)

    def remove(self, prefix: str) -> None:
        for name in self._archive.names(prefix):
            if name != MARK:
                self._archive.delete(name)
        super().remove(prefix)

    def open(self) -> None:
        with self.new_file(MARK) as file:
            file.touch()

    def close(self) -> None:
        self._archive.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _drop_older_halves(self, name: str) -> None:
        """Who fetches something of a half-sweep is done with the one before the last."""
        half = _half_of(name)
        for path in self.folder.glob("half*") if half else ():
            if 0 < _half_of(path.name) < half - 1:
                path.unlink(missing_ok=True)

    @property
    def _archive(self) -> ModelArchive:
        return _archive(self._uri)


def _half_of(name: str) -> int:
    number = name.partition(".")[0].removeprefix("half")
    return int(number) if number.isdecimal() else 0


@functools.lru_cache(maxsize=8)
def _archive(uri: str) -> ModelArchive:
    return ModelArchive(uri)
