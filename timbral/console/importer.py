"""The imports that a process of the API does: one at a time, in a thread of its own, noted for every screen."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import structlog

from timbral.api.refusals import Refused
from timbral.errors import TimbralError
from timbral.plays.imports import ImportNotes

if TYPE_CHECKING:
    from timbral.data.read_options import ReadOptions
    from timbral.history.table import HistoryTable

__all__ = ["Importer", "importer"]

logger = structlog.get_logger(__name__)


class Importer:
    """Takes one file at a time: an import has the whole memory of a training's reading."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    def take(self) -> Upload:
        """Room for one file.

        Raises:
            Refused: 409, another one is on its way.
        """
        if not self._busy.acquire(blocking=False):
            raise Refused(409, "Another file is being imported: wait until it is done")
        return Upload(self._busy)


class Upload:
    """The folder of one file, from its first byte to its last row; gone with ``close``, or with the process."""

    def __init__(self, busy: threading.Lock) -> None:
        self._busy = busy
        self._folder = TemporaryDirectory(prefix="timbral-import-")

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(self._folder.name) / "file"

    def close(self) -> None:
        """Remove the file, and let the next one in."""
        try:
            self._folder.cleanup()
        finally:
            self._busy.release()

    def start(
        self, history: HistoryTable, called: str, options: ReadOptions, notes: ImportNotes, *, played_now: bool
    ) -> None:
        """Import it, and then close."""
        arguments = (history, called, options, notes, played_now)
        threading.Thread(target=self._run, args=arguments, name="import", daemon=True).start()

    def _run(self, history: Any, called: str, options: Any, notes: ImportNotes, played_now: bool) -> None:
        from timbral.data.dataset_file import DatasetFile
        from timbral.history.noted_import import import_noted

        try:
            found = import_noted(history, DatasetFile(called, str(self.path)), options, notes, played_now=played_now)
            logger.info("imported", file=called, rows=found.rows, left_out=found.left_out, told=found.told)
        except TimbralError as error:
            logger.info("import refused", file=called, problem=str(error))
        except Exception:
            logger.exception("import failed", file=called)
        finally:
            self.close()


importer = Importer()
"""Of this process."""
