"""Where the rows of a batch stand in their file, for error messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import DataError

__all__ = ["Place", "shown"]


@dataclass(frozen=True)
class Place:
    """Attributes:
    filepath: the file, as messages call it.
    first_row: data row, counted from 1, of the batch's first row.
    kept: places in the batch as it was read of the rows that are left; None where all are.
    """

    filepath: str
    first_row: int = 1
    kept: npt.NDArray[np.int64] | None = None

    def row(self, at: int) -> int:
        """Data row of the row at place ``at``."""
        return self.first_row + (at if self.kept is None else int(self.kept[at]))

    def without(self, dropped: npt.NDArray[np.bool_]) -> Place:
        """The place of the rows that are not ``dropped``."""
        places = np.flatnonzero(~dropped)
        return Place(self.filepath, self.first_row, places if self.kept is None else self.kept[places])

    def error(self, column: str, at: int, problem: str) -> DataError:
        """An error about the value of ``column`` in the row at place ``at``."""
        return DataError(f"column {column!r}, data row {self.row(at)}: {problem}", self.filepath)


def shown(value: Any) -> str:
    """``value`` as Python writes it, short enough for an error message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
