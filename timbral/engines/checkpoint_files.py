"""CheckpointFiles: the state of one fit, in a file of a new name each time, so that a fit that is cut off goes on.

A file's name says which job and which fit it is of: a digest of the data, of all that the fit was asked, and of the
code that does it. A file of any other is not looked at; so nothing is ever mixed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import structlog

from timbral.config.settings import settings
from timbral.errors import ModelFileError, ModelNotFoundError, ModelStoreError
from timbral.models.engine.extrapolation import StepSize
from timbral.models.engine.training_state import TrainingState
from timbral.models.file import model_file
from timbral.models.kernels.kernel import sources_digest
from timbral.versions.model_archive import ModelArchive, folder_below

__all__ = ["CheckpointFiles", "JobCheckpoints", "checkpoint_archive", "checkpoint_folder", "remove_orphans"]

logger = structlog.get_logger(__name__)

SUFFIX: Final = ".checkpoint"
LEAST_TIME_RATIO: Final = 30.0
"""A file is written after at least so many times what the last one took: 3 % of a fit at most."""
ARRAYS: Final = ("user", "item", "last_item")


class JobCheckpoints:
    """The checkpoints of one job's fits, in ``folder``, which all hosts see that may go on with it; or in ``archive``,
    where there is one, and ``folder`` is this host's own."""

    def __init__(self, folder: Path, job_id: str, every_s: float, archive: ModelArchive | None = None) -> None:
        self.folder = Path(folder)
        self.every_s = every_s
        self._archive = archive
        self._job = hashlib.blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    def of_fit(self, arguments: dict[str, Any], arrays: Iterable[npt.NDArray[Any] | None]) -> CheckpointFiles:
        """Of the fit that is asked with ``arguments``, plain JSON, on ``arrays``."""
        digest = hashlib.blake2b(json.dumps([sources_digest(), arguments], sort_keys=True).encode(), digest_size=16)
        for array in arrays:
            if array is None:
                digest.update(b"none")
            else:
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return CheckpointFiles(self.folder, f"{self._job}-{digest.hexdigest()}", self.every_s, self._archive)

    def clear(self) -> None:
        """The job has ended: nothing of it is needed any more."""
        _remove(_found(self.folder, f"{self._job}-", self._archive), self._archive)


class CheckpointFiles:
    """Those of one fit, named by ``key``.

    Args:
        every_s: seconds between two of them at least; 0 for one after each sweep, whatever it costs.
    """

    def __init__(self, folder: Path, key: str, every_s: float, archive: ModelArchive | None = None) -> None:
        self._folder = folder
        self._archive = archive
        self._key = key
        self._every_s = every_s
        self._began_s = self._last_s = time.monotonic()
        self._took_s = 0.0
        self._chosen: dict[str, float] = {}
        self._found: TrainingState | None = None
        self._looked = False

    def chosen(self) -> dict[str, float] | None:
        found = self.load()
        return None if found is None else dict(self._chosen)

    def note_chosen(self, chosen: dict[str, float]) -> None:
        self._chosen = dict(chosen)

    def load(self) -> TrainingState | None:
        if not self._looked:
            self._looked = True
            self._found = self._newest()
        return self._found

    def offer(self, state: TrainingState, *, last: bool) -> None:
        now = time.monotonic()
        since_s = now - (self._began_s if last else self._last_s)
        if self._every_s and since_s < max(self._every_s, LEAST_TIME_RATIO * self._took_s):
            return
        try:
            self._write(state)
        except ModelStoreError as error:  # the training itself is none the worse for it
            logger.warning("no checkpoint written", problem=str(error))
        self._last_s = time.monotonic()
        self._took_s = self._last_s - now

    def _write(self, state: TrainingState) -> None:
        told = {
            "key": self._key,
            "loss": state.loss,
            "iteration": state.iteration,
            "step": state.step,
            "size": [state.size.step, state.size.limit, state.size.last],
            "converged": state.converged,
            "chosen": self._chosen,
        }
        older = list(self._files())
        path = self._folder / f"{self._key}.{state.iteration:06d}{SUFFIX}"
        model_file.write(path, {name: getattr(state, name) for name in ARRAYS}, {"state": json.dumps(told)})
        if self._archive is not None:
            self._archive.put(path)
        _remove([one for one in older if one != path], self._archive)

    def _newest(self) -> TrainingState | None:
        for path in sorted(self._files(), reverse=True):
            try:
                if self._archive is not None:
                    self._archive.fetch(path)
                arrays, texts = model_file.read(path, verify=True)
                told = json.loads(texts["state"])
                if told["key"] != self._key:
                    raise ModelFileError(str(path), "is of another fit")
                state = TrainingState(
                    # Copies: they are worked on, and the file's are read-only.
                    user=np.array(arrays["user"], dtype=np.float32),
                    item=np.array(arrays["item"], dtype=np.float32),
                    last_item=np.array(arrays["last_item"], dtype=np.float32),
                    loss=[float(one) for one in told["loss"]],
                    iteration=int(told["iteration"]),
                    step=float(told["step"]),
                    size=StepSize(*told["size"]),
                    converged=bool(told["converged"]),
                )
            except (ModelFileError, ModelNotFoundError, KeyError, TypeError, ValueError) as error:
                logger.warning("checkpoint cannot be read", file=path.name, problem=str(error))
                continue
            self._chosen = {name: float(value) for name, value in told["chosen"].items()}
            logger.info("resuming from a checkpoint", sweep=state.iteration, loss=state.loss[-1:])
            return state
        return None

    def _files(self) -> list[Path]:
        return _found(self._folder, f"{self._key}.", self._archive)


def checkpoint_folder(model_dir: Path) -> Path:
    """Where the trainings keep what they have reached whose models go to ``model_dir``."""
    return (settings.train_store or model_dir) / "checkpoints"


def checkpoint_archive() -> ModelArchive | None:
    """Where they are kept if no folder is seen by all hosts."""
    if not settings.train_store_is_remote:
        return None
    return ModelArchive(folder_below(settings.TRAIN_STORE_URI or "", "checkpoints"))


def remove_orphans(folder: Path, older_than_s: float, archive: ModelArchive | None = None) -> int:
    """Remove checkpoints that nobody wrote for so long, of jobs that never came back; returns how many."""
    oldest = time.time() - older_than_s
    old = set() if archive is None else {folder / name for name in archive.older(older_than_s)}
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                old.add(path)
    _remove(old, archive)
    return len(old)


def _found(folder: Path, prefix: str, archive: ModelArchive | None) -> list[Path]:
    here = {path.name for path in folder.glob(f"{prefix}*{SUFFIX}")}
    return sorted(folder / name for name in here | set(archive.names(prefix) if archive is not None else ()))


def _remove(paths: Iterable[Path], archive: ModelArchive | None) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            if archive is not None:
                archive.delete(path.name)
