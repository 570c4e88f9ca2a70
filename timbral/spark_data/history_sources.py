"""The history's files as sources."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from timbral.data.table import Table
from timbral.history.files import FilePart
from timbral.history.interactions import TrainedRows
from timbral.history.table import HistoryTable
from timbral.spark_data.sources import row_spans

__all__ = ["HistorySource", "history_sources"]


@dataclass(frozen=True)
class HistorySource:
    """``part`` of the rows that ``rows`` says."""

    rows: TrainedRows
    part: FilePart
    first_row: int

    @property
    def called(self) -> str:
        return self.rows.uri

    def table(self) -> Table:
        return self.rows.table(self.part)


def history_sources(history: HistoryTable, rows: TrainedRows) -> list[HistorySource]:
    """All files, in the order in which one process reads them."""
    if "://" not in rows.uri:
        rows = replace(rows, uri=os.path.abspath(rows.uri))  # noqa: PTH100 - text; the executors run in other folders
    sources: list[HistorySource] = []
    first_row = 1
    for path, n_rows in history.row_groups(rows.version):
        sources += [
            HistorySource(rows, FilePart(path, start, stop), first_row + first - 1)
            for start, stop, first in row_spans(n_rows)
        ]
        first_row += sum(n_rows)
    return sources
