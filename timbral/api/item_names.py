"""Names of items for people to read, where the app has put them into Redis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

from timbral import keys

__all__ = ["ItemNames"]

MAX_NAME_CHARACTERS = 500


class ItemNames:
    """Names from the hash ``items:names``: item id (JSON) → text. Without the hash no item has a name, and nothing else
    changes."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def of(self, item_ids: Iterable[int | str]) -> dict[int | str, str | None]:
        """Name by id, None where there is none. 1 and "1" are two items."""
        wanted = list(dict.fromkeys(item_ids))
        if not wanted:
            return {}
        found: list[Any] = await self._redis.hmget(keys.ITEMS_NAMES, [keys.encode_id(one) for one in wanted])
        return {
            one: None if name is None else name.decode("utf-8", "replace")[:MAX_NAME_CHARACTERS]
            for one, name in zip(wanted, found, strict=True)
        }
