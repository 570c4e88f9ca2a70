"""What every route of a door shares: its settings, its Redis, the lists, the names, the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request
from redis.asyncio import Redis

from timbral.api.cached_lists import CachedLists
from timbral.api.item_names import ItemNames
from timbral.api.model_reader import ModelReader
from timbral.api.redis_client import connect
from timbral.api.streams import Streams
from timbral.config.settings import Settings

__all__ = ["Door", "TheDoor", "make_door"]

MAX_JOB_THREADS = 16
"""Looking after jobs has threads of its own: a hundred event streams must not take those that enqueue."""


@dataclass(frozen=True)
class Door:
    """One process' part of the HTTP door."""

    settings: Settings
    redis: Redis
    lists: CachedLists
    names: ItemNames
    model: ModelReader
    streams: Streams
    job_threads: CapacityLimiter

    async def close(self) -> None:
        """End the streams and let go of Redis."""
        self.streams.closing.set()
        await self.lists.close()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()


def make_door(settings: Settings) -> Door:
    """A door to what ``settings`` name; connects when it is first asked."""
    redis = connect(settings.redis_url)
    return Door(
        settings,
        redis,
        CachedLists(redis.connection_pool),
        ItemNames(redis),
        ModelReader(settings),
        Streams(),
        CapacityLimiter(MAX_JOB_THREADS),
    )


async def _the_door(request: Request) -> Door:
    return cast("Door", request.app.state.door)


TheDoor = Annotated[Door, Depends(_the_door)]
