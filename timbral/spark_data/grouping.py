"""Rows by the group that each belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["rows_by_group"]


def rows_by_group(
    groups: npt.NDArray[Any], columns: Mapping[str, npt.NDArray[Any] | pa.Array]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of each group that has some, in their order; ``groups`` are numbers from 0, one for each row."""
    if not len(groups):
        return
    # In its smallest type: numpy sorts these without comparing.
    order = np.argsort(groups.astype(np.min_scalar_type(int(groups.max()))), kind="stable")
    ends = np.cumsum(np.bincount(groups))
    for group, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            arrays = [
                column.take(pa.array(rows)) if isinstance(column, pa.Array) else pa.array(column[rows])
                for column in columns.values()
            ]
            yield group, pa.RecordBatch.from_arrays(arrays, list(columns))
