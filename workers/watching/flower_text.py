"""Tasks as Flower shows them: arguments as a person writes them, and in the result's place the progress or the
reason."""

from __future__ import annotations

import ast
import re
from typing import Any

__all__ = ["readable", "readable_arguments"]

_KEYS_IN_URI = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=\?)[^\s'\"]*")
MAX_SHOWN = 160
"""Characters of an argument or a result in Flower's table."""


def readable(task: Any) -> Any:
    """Change Flower's copy of a task for its pages (Flower's ``format_task``)."""
    task.kwargs = readable_arguments(task.kwargs)
    if task.state == "FAILURE" and task.exception:
        task.result = task.exception
    if task.result is not None:
        task.result = readable_arguments(task.result)
    return task


def readable_arguments(text: str | None) -> str:
    """``{'dataset': 'plays.csv', 'n_components': 8}`` as ``dataset=plays.csv n_components=8``; long lists by their
    length."""
    try:
        arguments = ast.literal_eval(text or "{}")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return _short(text)  # Celery cuts long arguments short, and what is left is no Python any more
    return _pairs(arguments) if isinstance(arguments, dict) else _short(text)


def _pairs(values: dict[Any, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_pairs(value)})"
    if isinstance(value, list):
        shown = [_value(item) if isinstance(item, dict) else _short(repr(item)) for item in value[:3]]
        return f"[{', '.join(shown)}]" if len(value) <= 3 else f"[{', '.join(shown[:2])}, … {len(value)} in all]"
    return _short(value)


def _short(value: object) -> str:
    text = _KEYS_IN_URI.sub("…", str(value)) if "://" in str(value) else str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
