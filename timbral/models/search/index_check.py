"""Whether an index that comes from a file is the one of what stands beside it in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import DataError

__all__ = ["check_order", "check_shapes"]


def check_shapes(what: str, index: object, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, Any]) -> None:
    """Raise DataError unless each array of ``index`` has its shape and its dtype, float32 where none is named."""
    for name, shape in shapes.items():
        array, dtype = getattr(index, name), np.dtype(dtypes.get(name, np.float32))
        if array.shape != shape or array.dtype != dtype:
            raise DataError(f"its {what}'s {name} is {array.dtype} of {array.shape}, not {dtype} of {shape}")


def check_order(what: str, item_of: npt.NDArray[np.int32], n_items: int) -> None:
    """Raise DataError unless ``item_of`` has each of ``n_items`` once, and then −1."""
    places = item_of[:n_items]
    known: Any = places.view(np.uint32)  # one comparison for both ends
    if (item_of[n_items:] != -1).any() or (n_items and known.max() >= n_items):
        raise DataError(f"its {what} does not fit its items")
    if n_items and not (np.bincount(places, minlength=n_items) == 1).all():
        raise DataError(f"its {what} has not each item once")
