"""The event streams of a process: how many are open, how many may be, and whether they should end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from timbral.api.metrics import EVENT_STREAMS
from timbral.api.refusals import Refused

__all__ = ["HEARTBEAT_S", "LONGEST_S", "MAX_STREAMS", "Streams"]

MAX_STREAMS: Final = 100
"""Of one process; each of them asks Redis a few times a second."""
HEARTBEAT_S: Final = 10.0
"""A comment line after so long without news, so that proxies keep the line open."""
LONGEST_S: Final = 3600.0
"""Then a stream ends without a last word, and an EventSource opens a new one by itself."""


class Streams:
    """The event streams of this process."""

    def __init__(self) -> None:
        self.n_open = 0
        self.closing = asyncio.Event()

    def check_room(self, instead: str) -> None:
        """Raise Refused (503) where there are as many as may be; ``instead`` says what to do meanwhile."""
        if self.n_open >= MAX_STREAMS:
            raise Refused(503, f"This process has {MAX_STREAMS} event streams open already; {instead}")

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts a stream for as long as it is open."""
        self.n_open += 1
        EVENT_STREAMS.inc()
        try:
            yield
        finally:
            self.n_open -= 1
            EVENT_STREAMS.dec()

    async def closing_within(self, seconds: float) -> bool:
        """Wait; whether the streams should end, which ends the wait."""
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return False
        return True
