"""Tasks as Flower shows them: arguments as a person writes them, and in the result's place the progress or the reason."""

from __future__ import annotations

import ast
from typing import Any

__all__ = ["readable", "readable_arguments"]

MAX_SHOWN = 160
"""Characters of an argument or a result in Flower's table."""


def readable(task: Any) -> Any:
    """Change Flower's copy of a task for its pages (Flower's ``format_task``)."""
    task.kwargs = readable_arguments(task.kwargs)
    if task.state == "FAILURE" and task.exception:
        task.result = task.exception
    task.result = _short(task.result) if task.result is not None else task.result
    return task


def readable_arguments(text: str | None) -> str:
    """``{'dataset': 'plays.csv', 'n_components': 8}`` as ``dataset=plays.csv n_components=8``; lists by their length."""
    try:
        arguments = ast.literal_eval(text or "{}")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return _short(text)  # Celery cuts long arguments short, and what is left is no Python any more
    if not isinstance(arguments, dict):
        return _short(text)
    return " ".join(f"{name}={_value(value)}" for name, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"[{', '.join(str(v) for v in value[:2])}, … {len(value)} in all]"
    return _short(value)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
