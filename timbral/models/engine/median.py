"""The median of numbers that are more than memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["median"]

HALF_BITS: Final = 16


def median(parts: Sequence[npt.NDArray[np.float32]]) -> float:
    """What numpy's ``median`` gives of all ``parts`` together, float32 and above 0; a part is looked at twice at most.

    The bits of positive floats, read as ints, are in the floats' order: counting the upper halves tells where the
    middle is, and counting the lower halves there tells what it is.
    """
    n = sum(len(part) for part in parts)
    middle = [(n - 1) // 2, n // 2]
    upper = np.zeros(1 << HALF_BITS, dtype=np.int64)
    for part in parts:
        upper += np.bincount(_bits(part) >> HALF_BITS, minlength=len(upper))
    ends = np.cumsum(upper)
    found = []
    for place in middle:
        high = int(np.searchsorted(ends, place, side="right"))
        lower = np.zeros(1 << HALF_BITS, dtype=np.int64)
        for part in parts:
            bits = _bits(part)
            lower += np.bincount(bits[bits >> HALF_BITS == high] & (len(lower) - 1), minlength=len(lower))
        low = int(np.searchsorted(np.cumsum(lower), place - (ends[high] - upper[high]), side="right"))
        found.append((high << HALF_BITS) | low)
    return float(np.array(found, dtype=np.uint32).view(np.float32).mean())


def _bits(part: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(part).view(np.uint32)
