"""What this worker holds: Celery's sets of requests, as they may be read from any thread."""

from __future__ import annotations

from typing import Any

from celery.worker import state

__all__ = ["held_requests", "is_stopping", "running_requests"]


def running_requests() -> list[Any]:
    """Requests that this worker works on, or is about to. May be called from any thread."""
    return _unacknowledged(state.reserved_requests, state.active_requests)


def held_requests(consumer: Any = None) -> list[Any]:
    """The same, and those that wait for their time (retries, countdowns) or for their turn (rate limits)."""
    limited: set[Any] = set()
    for bucket in list(getattr(consumer, "task_buckets", {}).values()):
        if bucket:
            limited |= {request for request, _ in list(bucket.contents)}
    return _unacknowledged(state.reserved_requests, state.active_requests, state.scheduled_requests, limited)


def is_stopping() -> bool:
    """Whether this worker's pool is about to end, or has ended."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def _unacknowledged(*sets: Any) -> list[Any]:
    while True:
        try:
            requests = {request for each in sets for request in each}
        except RuntimeError:  # another thread changed one of the sets meanwhile
            continue
        return [request for request in requests if not request.acknowledged]
