"""Handing a task to a process of the pool as soon as the worker has it."""

from __future__ import annotations

from typing import Any

__all__ = ["hand_over"]


def hand_over(hub: Any, pool: Any) -> None:
    """Write to the pipes of idle processes what waits for one.

    Celery's event loop writes it in its next round, behind the question for the next message and whatever else is due:
    half a millisecond in which the task could have begun.

    Args:
        hub: the event loop, None for a pool without one.
        pool: Celery's; all but the one of processes start a task themselves, and are left alone.
    """
    processes = pool._pool
    if hub is not None and hub.consolidate_callback is not None and getattr(processes, "outbound_buffer", None):
        hub.consolidate_callback(list(processes._all_inqueues))
