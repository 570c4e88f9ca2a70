"""A worker keeps one process, however often it is told to shrink: without any it takes no message, fails none, and
looks alive."""

from __future__ import annotations

from typing import Any

from celery.worker import control

__all__ = ["install"]

_celerys = control.pool_shrink


def install() -> None:
    """Take the command ``pool_shrink`` over from Celery."""
    control.control_command(args=[("n", int)], signature="[N=1]")(pool_shrink)


def pool_shrink(state: Any, n: int = 1, **_: Any) -> Any:
    """Shrink pool by n processes/threads."""
    n_processes = state.consumer.pool.num_processes
    if not 0 < n < n_processes:
        return control.nok(f"a pool of {n_processes} keeps one process at least; shutdown ends the worker")
    return _celerys(state, n)
