"""Numpy's values as Python's, without numpy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from timbral.messages import Play

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Numpy's ids, arrays and scalars as Python's; a path as text; any other iterable as a list."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, str | bytes | Play) or not isinstance(value, Iterable):
        return value
    return [plain(item) for item in value]
