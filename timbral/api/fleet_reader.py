"""The fleet's state for whoever asks after the API's health: read at most every other second, however many ask, and
never waited for long."""

from __future__ import annotations

import asyncio
import logging
import time

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from redis.exceptions import RedisError

from producers.connections import connections
from timbral.errors import TimbralError
from timbral.queue.fleet_state import FleetState, read_fleet_state

__all__ = ["FleetReader"]

logger = logging.getLogger(__name__)

FRESH_S = 2.0
PATIENCE_S = 1.0


class FleetReader:
    """Reads the state in a thread of its own."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._state: FleetState | None = None

    async def state(self) -> FleetState | None:
        """The state, two seconds old at most; None where Redis does not tell it within a second."""
        async with self._lock:
            if time.monotonic() - self._read_at > FRESH_S:
                self._state = await self._ask()
                self._read_at = time.monotonic()
            return self._state

    async def _ask(self) -> FleetState | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await run_sync(_read, limiter=self._limiter, abandon_on_cancel=True)
        except (TimeoutError, RedisError, TimbralError) as error:
            logger.warning("Cannot tell the fleet's state: %s", str(error) or type(error).__name__)
            return None


def _read() -> FleetState:
    reached = connections()
    with reached.asking(results=True) as queue, reached.asking() as cache:
        return read_fleet_state(queue, cache)
