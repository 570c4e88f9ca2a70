"""What every route of an API shares: its settings, its Redis, the lists, the names, the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request
from redis.asyncio import Redis

from timbral.api.cached_lists import CachedLists
from timbral.api.fleet_reader import FleetReader
from timbral.api.item_names import ItemNames
from timbral.api.model_reader import ModelReader
from timbral.api.streams import Streams
from timbral.config.settings import Settings
from timbral.redis_server.client import close_async, connect_async

__all__ = ["ApiContext", "Context", "make_context"]

MAX_CONNECTIONS = 32
TIMEOUT_S = 2.0
"""A dead Redis holds a request no longer."""
MAX_JOB_THREADS = 16
"""Looking after jobs has threads of its own: a hundred event streams must not take those that enqueue."""


@dataclass(frozen=True)
class ApiContext:
    """One process' part of the HTTP API."""

    settings: Settings
    redis: Redis
    lists: CachedLists
    names: ItemNames
    model: ModelReader
    fleet: FleetReader
    streams: Streams
    job_threads: CapacityLimiter

    async def close(self) -> None:
        """End the streams and let go of Redis."""
        self.streams.closing.set()
        await self.lists.close()
        await close_async(self.redis)


def make_context(settings: Settings) -> ApiContext:
    """An API to what ``settings`` name; connects when it is first asked."""
    redis = connect_async(
        settings.redis_url, timeout_s=TIMEOUT_S, connect_timeout_s=1.0, max_connections=MAX_CONNECTIONS
    )
    return ApiContext(
        settings,
        redis,
        CachedLists(redis.connection_pool),
        ItemNames(redis),
        ModelReader(settings),
        FleetReader(),
        Streams(),
        CapacityLimiter(MAX_JOB_THREADS),
    )


async def _context(request: Request) -> ApiContext:
    return cast("ApiContext", request.app.state.context)


Context = Annotated[ApiContext, Depends(_context)]
