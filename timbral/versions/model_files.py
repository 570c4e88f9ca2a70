"""ModelFiles: the versions' files on this host, and their copies in the archive."""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from timbral.errors import ModelNotFoundError
from timbral.versions.model_archive import ModelArchive
from timbral.versions.served_model import ServedModel, revision_of

__all__ = ["ModelFiles"]

_VERSION = re.compile(r"\d{8}T\d{6}-\d{1,18}")


class ModelFiles:
    """Files by version.

    Args:
        folder: where they are; shared by all workers, or by those of one host where there is an archive.
        archive_uri: where they are kept too, for hosts that do not share ``folder``; None where all do.
        n_threads: threads of a model's work in this process; ``settings.N_THREADS`` where None.
        known: gives the versions that there are.
    """

    def __init__(
        self, folder: Path, archive_uri: str | None, n_threads: int | None, known: Callable[[], Iterable[str]]
    ) -> None:
        self.folder = folder
        self._archive_uri = archive_uri
        self._n_threads = n_threads
        self._known = known
        self._revisions: Mapping[str, str] = {}

    @cached_property
    def archive(self) -> ModelArchive | None:
        """Where the files are kept too, None where all hosts share a folder."""
        return ModelArchive(self._archive_uri) if self._archive_uri else None

    def path(self, version: str) -> Path:
        """The version's file.

        Raises:
            ModelNotFoundError: ``version`` is no version's name, and so no file's.
        """
        if not _VERSION.fullmatch(version):
            raise ModelNotFoundError(f"{version[:80]!r}, which is not the name of a version")
        return self.folder / f"{version}.safetensors"

    def read(self, version: str, *, verify: bool = False) -> ServedModel:
        """The version, mapped; its file is fetched from the archive where it is not here.

        Args:
            verify: check every byte first.

        Raises:
            ModelNotFoundError: there is no such file.
            ModelFileError: it is damaged.
        """
        served = ServedModel.read(self._fetched(version), version, verify=verify)
        served.model.n_threads = self._n_threads
        return served

    def write(self, served: ServedModel) -> None:
        """Write the version's file; ``archived`` does the rest.

        Raises:
            ModelStoreError: disk full, no permission, …; nothing changed.
        """
        served.write(self.path(served.version))

    def archived(self, version: str) -> None:
        """Copy the version's file into the archive, where there is one."""
        if self.archive is not None:
            self.archive.put(self.path(version))

    def found(self) -> set[str]:
        """The versions of which there is a file, here or in the archive."""
        names = [path.name for path in self.folder.glob("*.safetensors")]
        if self.archive is not None:
            names += self.archive.names("")
        stems = (name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors"))
        return {stem for stem in stems if _VERSION.fullmatch(stem)}

    def remove(self, version: str) -> None:
        """Remove the version's file, here and in the archive."""
        self.path(version).unlink(missing_ok=True)
        if self.archive is not None:
            self.archive.delete(self.path(version).name)

    def remove_rewritten(self, revisions: Mapping[str, str]) -> None:
        """Remove what this host has fetched of versions that were rewritten since; ``revisions`` by version."""
        if self.archive is None or revisions == self._revisions:
            return
        for version, revision in revisions.items():
            path = self.path(version)
            if path.exists() and revision_of(path) < int(revision):
                path.unlink(missing_ok=True)
        self._revisions = revisions

    @contextlib.contextmanager
    def rewriting(self) -> Iterator[None]:
        """One process of those that share the folder at a time; one that dies lets the next one in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".rewriting.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fetched(self, version: str) -> Path:
        """The version's file on this host; what was fetched before and has been pruned since goes."""
        path = self.path(version)
        if self.archive is None or path.exists():
            return path
        self.archive.fetch(path)
        kept = {version, *self._known()}
        for other in self.folder.glob("*.safetensors"):
            if _VERSION.fullmatch(other.stem) and other.stem not in kept:
                other.unlink(missing_ok=True)
        return path
