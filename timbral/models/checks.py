"""Checks of arguments: each says the name, what came and what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import ParameterError
from timbral.judging.matrix import Csr, Sparse

__all__ = ["check_by_user", "check_id", "check_ids", "check_int", "check_items", "check_real", "check_vectors"]


def check_int(value: Any, name: str, low: int, high: int) -> int:
    """``value`` as an int in [low, high]; a bool or a float is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ParameterError(f"{name} must be an int, got {value!r}")
    if not low <= value <= high:
        raise ParameterError(f"{name} must be in [{low}, {high}], got {value}")
    return int(value)


def check_real(value: Any, name: str, low: float, high: float) -> float:
    """``value`` as a float in [low, high]; a bool is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise ParameterError(f"{name} must be a number, got {value!r}")
    if not low <= value <= high:  # NaN too
        raise ParameterError(f"{name} must be in [{low:g}, {high:g}], got {value!r}")
    return float(value)


def check_ids(ids: npt.ArrayLike, count: int, what: str, name: str) -> npt.NDArray[np.int64]:
    """``ids`` (one, or a list or array of them) as a vector of matrix indices in [0, count)."""
    try:
        array = np.atleast_1d(np.asarray(ids))
    except ValueError as error:
        raise ParameterError(f"{name} must be ints in one list, got {ids!r}") from error
    if array.ndim != 1:
        raise ParameterError(f"{name} must be one list, got shape {array.shape}")
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise ParameterError(f"{name} must be ints (matrix indices), got {array.dtype} such as {array[0]!r}")
    if (array < 0).any() or (array >= count).any():
        raise ParameterError(f"{what} must be in range [0, {count})")
    return array.astype(np.int64)


def check_id(one: Any, count: int, what: str, name: str) -> int:
    """``one`` as a matrix index in [0, count)."""
    if np.ndim(one):
        raise ParameterError(f"{name} must be one id, got {one!r:.80}")
    return int(check_ids(one, count, what, name)[0])


def check_by_user(matrix: Sparse | None, name: str, shape: tuple[int, int]) -> Csr | None:
    """A sparse ``matrix`` of ``shape``, (users asked for, n_items), as CSR; None stays None."""
    if matrix is None:
        return None
    if not sparse.issparse(matrix) or matrix.shape != shape:
        got = getattr(matrix, "shape", type(matrix).__name__)
        raise ParameterError(f"{name} must be a sparse matrix of shape {shape}, got {got}")
    return matrix.tocsr()


def check_items(ids: npt.ArrayLike | None, n_items: int, name: str) -> npt.NDArray[Any] | None:
    """``ids`` as item indices; None stays None, and so does a bool array (n_items,)."""
    if isinstance(ids, np.ndarray) and ids.dtype == bool and ids.shape == (n_items,):
        return ids
    return None if ids is None else check_ids(ids, n_items, "Item IDs", name).astype(np.int32)


def check_vectors(vectors: npt.ArrayLike, name: str, n: int | None, n_components: int) -> npt.NDArray[np.float32]:
    """``vectors`` as float32 of shape (n, n_components); any number of them where ``n`` is None."""
    try:
        array = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be numbers of shape (n, {n_components}): {error}") from error
    if array.ndim != 2 or array.shape[1] != n_components:
        raise ParameterError(f"{name} must have shape (n, {n_components}), got {array.shape}")
    if n is not None and len(array) != n:
        raise ParameterError(f"user_ids and {name} must be equally long, got {n} and {len(array)}")
    return array
