"""The rescue, as a worker's timer calls it."""

from __future__ import annotations

from functools import cache

from timbral.logic.rescue import Rescue, Rescued
from workers import outcome, publishing, resources

__all__ = ["rescue_once"]


@cache
def _rescue() -> Rescue:
    return Rescue(resources.records(), resources.broker(), publishing.publish, outcome.lost)


def rescue_once() -> Rescued | None:
    """Look after what nobody works on; None where another worker has just done so. Errors are the caller's to log."""
    return _rescue().run()
