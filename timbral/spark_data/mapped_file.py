"""An array that is written part by part into a file, and mapped from there: no process holds it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["mapped_file"]


def mapped_file(path: Path, dtype: Any, length: int, parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """``parts``, one behind the other, ``length`` numbers together: an array of ``dtype``, read-only."""
    if not length:
        return np.empty(0, dtype)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (length,)}
    written = 0
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype=dtype).data)
            written += len(part)
    assert written == length, (path.name, written, length)  # noqa: S101 - would be a fault of ours, not of the data
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return array
