"""Numpy's values as Python's, without numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from timbral.messages import Play

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Numpy's ids, arrays and scalars as Python's; any other iterable as a list."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, str | bytes | Play) or not isinstance(value, Iterable):
        return value
    return [plain(item) for item in value]
