"""An import whose begin, progress and end are noted, whoever asked for it."""

from __future__ import annotations

from typing import Final

from timbral.data.dataset_file import DatasetFile
from timbral.data.read_options import ReadOptions
from timbral.errors import TimbralError
from timbral.history.importing import Imported, OnRows, import_plays
from timbral.history.table import HistoryTable
from timbral.plays.imports import ImportNotes

__all__ = ["import_noted"]

FAULT: Final = "something went wrong here; the log says what"


def import_noted(
    history: HistoryTable,
    file: DatasetFile,
    options: ReadOptions,
    notes: ImportNotes,
    *,
    played_now: bool = False,
    on_rows: OnRows = lambda what, n_rows: None,  # noqa: ARG005 - called with both
) -> Imported:
    """``import_plays``, noted from its first row to its end; ``notes`` has begun.

    Raises:
        DataError, HistoryError: as ``import_plays``.
    """

    def said(what: str, n_rows: int) -> None:
        notes.rows(what, n_rows)
        on_rows(what, n_rows)

    try:
        imported = import_plays(history, file, options, played_now=played_now, on_rows=said)
    except BaseException as error:
        notes.refused(str(error) if isinstance(error, TimbralError) else FAULT)
        raise
    notes.done(
        n_read=imported.n_read,
        n_written=imported.rows,
        left_out=imported.left_out,
        told=imported.told,
        unread=imported.unread,
        was_there=imported.was_there,
    )
    return imported
