"""How much an entry of a user's plays counts in what neighbours say, and in what is played together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_ENTRY", "counted"]

LEAST_ENTRY = 0.01
"""None counts less: no co-play is lost to rounding."""


def counted(
    indptr: npt.NDArray[np.int64], values: npt.NDArray[np.number] | npt.NDArray[np.bool_], exponent: float
) -> npt.NDArray[np.float32]:
    """x_u: each row's ``values`` to the power of ``exponent``, divided by the root of their mean square; float32
    (n_entries,). Where the exponent is 0, all count 1, and none is returned. What is not above 0 counts least.
    """
    if exponent == 0.0:
        return np.empty(0, np.float32)
    counts = np.diff(indptr)
    filled = counts > 0
    logarithms = np.log(np.fmin(np.fmax(values.astype(np.float64), 1e-300), 1e300))
    logarithms -= np.repeat(_of_rows(np.maximum, logarithms, indptr, filled), counts)  # or a power might be infinite
    entries = np.exp(exponent * logarithms)
    squares = _of_rows(np.add, entries**2, indptr, filled) / np.maximum(counts, 1)
    return np.maximum(entries / np.sqrt(np.repeat(squares, counts)), LEAST_ENTRY).astype(np.float32)


def _of_rows(
    reduced: np.ufunc, values: npt.NDArray[np.float64], indptr: npt.NDArray[np.int64], filled: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Each row's ``values`` reduced to one, 0 where it has none: float64 (n_rows,)."""
    found = np.zeros(len(filled))
    if filled.any():
        found[filled] = reduced.reduceat(values, indptr[:-1][filled])
    return found
