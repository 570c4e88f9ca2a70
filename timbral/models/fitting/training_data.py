"""TrainingData: what a fit asks of its data, be they in memory or in files of which no host holds more than a part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import numpy.typing as npt

from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Side, Weighting
from timbral.models.fitting.hidden_part import Times

__all__ = ["HeldData", "TrainingData"]

Marks = npt.NDArray[np.bool_]


class TrainingData(ABC):
    """Who played what, users × items."""

    @property
    @abstractmethod
    def rows(self) -> SparseRows:
        """All of it; read in blocks, and never copied as a whole."""

    @property
    @abstractmethod
    def sample(self) -> SparseRows:
        """The rows of those users on whom is chosen what a fit chooses, and whose plays tell neighbours and recency;
        all columns."""

    @property
    @abstractmethod
    def sample_times(self) -> Times | None:
        """Of the entries of ``sample``."""

    @property
    @abstractmethod
    def item_counts(self) -> npt.NDArray[np.int64]:
        """Entries of each column: (n_items,)."""

    @property
    @abstractmethod
    def sides_hold_entries(self) -> bool:
        """Whether the sides have their entries, and not just what goes with each row."""

    @abstractmethod
    def marks(self, of_sample: Marks) -> Marks:
        """Marks of the sample's users as those of all users."""

    @abstractmethod
    def sides(self, weighting: Weighting) -> tuple[Side, Side]:
        """Users and items, weighed."""


class HeldData(TrainingData):
    """Data in memory; the sample is all of them."""

    def __init__(self, rows: SparseRows, times: Times | None) -> None:
        self._rows = rows
        self._times = times

    @property
    def rows(self) -> SparseRows:
        return self._rows

    @property
    def sample(self) -> SparseRows:
        return self._rows

    @property
    def sample_times(self) -> Times | None:
        return self._times

    @cached_property
    def _columns(self) -> SparseRows:
        return self._rows.transposed()

    @property
    def item_counts(self) -> npt.NDArray[np.int64]:
        return np.diff(self._columns.indptr)

    @property
    def sides_hold_entries(self) -> bool:
        return True

    def marks(self, of_sample: Marks) -> Marks:
        return of_sample

    def sides(self, weighting: Weighting) -> tuple[Side, Side]:
        return weighting.users_side(self._rows), weighting.items_side(self._columns)
