"""Sums over rows that have the same bits however the work is cut: by threads, processes or hosts.

Rows are summed in blocks whose edges follow from the number of rows alone, and the blocks' sums are added in their
order. So it does not matter who summed which block. BLAS would split a sum by its own number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import float64, int64

from timbral.models.kernels.kernel import kernel, vector
from timbral.models.kernels.threads import Threads

__all__ = ["AddRows", "added_in_order", "block_rows", "sum_of_rows", "sum_of_values", "sums_by_block", "value_sums"]

LEAST_ROWS: Final = 512
MOST_BLOCKS: Final = 1024
MAX_SUMS_BYTES: Final = 64 * 2**20
"""Of the blocks' sums that are kept until they are added."""

GROUPS_PER_THREAD: Final = 4

Sums = npt.NDArray[np.float64]
AddRows = Callable[[int, int, Sums], None]
"""``add(start, stop, out)`` adds what rows start..stop sum up to to ``out``, float64, and touches nothing else."""


def block_rows(n_rows: int) -> int:
    """Rows of each block but the last: LEAST_ROWS, doubled until there are at most MOST_BLOCKS blocks."""
    rows = LEAST_ROWS
    while rows * MOST_BLOCKS < n_rows:
        rows *= 2
    return rows


def sums_by_block(n_rows: int, rows: int, shape: tuple[int, ...], add: AddRows, threads: Threads) -> Sums:
    """What ``add`` makes of each block of ``rows`` rows: float64 (n_blocks, *shape)."""
    n_blocks = -(-n_rows // rows)
    sums = np.zeros((n_blocks, *shape))

    def add_blocks(first: int, last: int) -> None:
        for block in range(first, last):
            add(block * rows, min((block + 1) * rows, n_rows), sums[block])

    size = max(1, -(-n_blocks // (GROUPS_PER_THREAD * threads.n_threads)))
    threads.run(add_blocks, [(first, min(first + size, n_blocks)) for first in range(0, n_blocks, size)])
    return sums


def added_in_order(sums: Sums, total: Sums) -> Sums:
    """``total`` with the blocks' ``sums`` added to it, one after the other."""
    for of_block in sums:
        total += of_block
    return total


def sum_of_rows(n_rows: int, shape: tuple[int, ...], add: AddRows, threads: Threads) -> Sums:
    """The sum over all rows, float64 of ``shape``; of blocks at most MAX_SUMS_BYTES at a time."""
    rows = block_rows(n_rows)
    at_a_time = rows * max(1, MAX_SUMS_BYTES // (8 * int(np.prod(shape))))
    total = np.zeros(shape)
    for first in range(0, n_rows, at_a_time):

        def add_from_first(start: int, stop: int, out: Sums, first: int = first) -> None:
            add(first + start, first + stop, out)

        added_in_order(sums_by_block(min(at_a_time, n_rows - first), rows, shape, add_from_first, threads), total)
    return total


@kernel(
    values=vector(float64),
    start=int64,
    stop=int64,
    out=vector(float64, writable=True),
    boundscheck=False,
)
def _add_values(values, start, stop, out):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(start, stop):
        out[0] += values[place]


def value_sums(values: Sums, rows: int, threads: Threads) -> Sums:
    """The sum of each block of ``rows`` values: float64 (n_blocks, 1)."""
    return sums_by_block(
        len(values), rows, (1,), lambda start, stop, out: _add_values(values, start, stop, out), threads
    )


def sum_of_values(values: Sums, threads: Threads) -> float:
    """The sum of ``values``, float64."""
    return float(added_in_order(value_sums(values, block_rows(len(values)), threads), np.zeros(1))[0])
