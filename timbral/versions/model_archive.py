"""ModelArchive: the model files once more, on storage that all hosts reach, for fleets whose hosts share no folder.

A trainer puts each version there before it can go live; a worker that lacks a version's file fetches it, once a host.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from pyarrow import fs

from timbral.errors import ModelFileError, ModelNotFoundError, ModelStoreError

__all__ = ["ModelArchive", "folder_below"]

logger = structlog.get_logger(__name__)

BLOCK_BYTES = 8 * 2**20


class ModelArchive:
    """A folder of model files at a URI that pyarrow opens: ``s3://models/production``, ``gs://…``, ``file:///…``.

    Raises:
        ModelStoreError: the URI is none that pyarrow can open.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.split("?")[0]
        with _errors(ModelStoreError, self.uri):
            filesystem, root = fs.FileSystem.from_uri(uri)
        self._filesystem: Any = fs.SubTreeFileSystem(root, filesystem)

    def put(self, path: Path) -> None:
        """Copy a file there; it is there whole or not at all.

        Raises:
            ModelStoreError: it cannot be written.
        """
        with _errors(ModelStoreError, f"{self.uri}/{path.name}"):
            # S3 shows an object when its last part has arrived; where there are folders, a rename does the same.
            part = path.name if "s3" in self._filesystem.base_fs.type_name else f".{path.name}.part"
            with path.open("rb") as source, self._filesystem.open_output_stream(part) as target:
                shutil.copyfileobj(source, target, BLOCK_BYTES)
            if part != path.name:
                self._filesystem.move(part, path.name)

    def fetch(self, path: Path) -> None:
        """Bring ``path`` here if it is not; processes of one host that ask at the same time fetch it once.

        Raises:
            ModelNotFoundError: it is not in the archive.
            ModelFileError: it cannot be read there, or not be written here.
        """
        with _errors(ModelFileError, f"{self.uri}/{path.name}"), _one_at_a_time(path):
            if path.exists():
                return
            if self._filesystem.get_file_info(path.name).type != fs.FileType.File:
                raise ModelNotFoundError(f"{path.stem}: neither {path} nor {self.uri}/{path.name}")
            part = path.with_name(f".{path.name}.part")
            with self._filesystem.open_input_stream(path.name) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, BLOCK_BYTES)
                target.flush()
                os.fsync(target.fileno())
            part.replace(path)
            logger.info("model fetched", file=path.name, archive=self.uri, bytes=path.stat().st_size)

    def names(self, prefix: str) -> list[str]:
        """Names of the files that are there and begin with ``prefix``, in their order.

        Raises:
            ModelStoreError: they cannot be listed.
        """
        return sorted(info.base_name for info in self._files() if info.base_name.startswith(prefix))

    def older(self, than_s: float) -> list[str]:
        """Names of the files that are older than ``than_s`` seconds, in folders below, too."""
        oldest = time.time() - than_s
        return [info.path for info in self._files(recursive=True) if info.mtime.timestamp() < oldest]

    def _files(self, *, recursive: bool = False) -> list[Any]:
        with _errors(ModelStoreError, self.uri):
            asked = fs.FileSelector("", recursive=recursive, allow_not_found=True)
            return [info for info in self._filesystem.get_file_info(asked) if info.type == fs.FileType.File]

    def clear(self) -> None:
        """Remove all files, and the folder.

        Raises:
            ModelStoreError: they cannot be removed.
        """
        with _errors(ModelStoreError, self.uri), contextlib.suppress(FileNotFoundError):
            self._filesystem.base_fs.delete_dir(self._filesystem.base_path)

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error.

        Raises:
            ModelStoreError: it cannot be removed.
        """
        with _errors(ModelStoreError, f"{self.uri}/{name}"), contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(name)


def folder_below(uri: str, name: str) -> str:
    """The URI of a folder in the folder at ``uri``, whose options stay behind it."""
    folder, mark, options = uri.partition("?")
    return f"{folder.rstrip('/')}/{name}{mark}{options}"


@contextlib.contextmanager
def _errors(kind: type[ModelStoreError | ModelFileError], what: str) -> Iterator[None]:
    try:
        yield
    except ModelNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise kind(what, problem) from None


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
