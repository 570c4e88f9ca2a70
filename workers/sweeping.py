"""The sweep, as a worker's timer calls it."""

from __future__ import annotations

from functools import cache

from timbral.logic.sweep import Sweep, Swept
from workers import outcome, publishing, resources

__all__ = ["sweep_once"]


@cache
def _sweep() -> Sweep:
    return Sweep(resources.records(), resources.broker(), publishing.publish, outcome.lost)


def sweep_once() -> Swept | None:
    """Look after what nobody works on; None where another worker has just done so. Errors are the caller's to log."""
    return _sweep().run()
