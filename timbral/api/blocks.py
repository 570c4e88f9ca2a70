"""Items that a user, or everybody, must not get: looked up at the moment of reading."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from timbral import keys

__all__ = ["blocked_among"]


async def blocked_among(client: Redis, item_ids: Sequence[int | str], user_id: str | None = None) -> set[int | str]:
    """Those of ``item_ids`` that are blocked for everybody or, where one is given, for ``user_id``."""
    if not item_ids:
        return set()
    members = [keys.encode_id(item_id) for item_id in item_ids]
    pipeline = client.pipeline(transaction=False)
    pipeline.smismember(keys.BLOCKS_ITEMS, members)
    if user_id is not None:
        pipeline.smismember(keys.blocks_user(user_id), members)
    answers = await pipeline.execute()
    return {item_id for item_id, *flags in zip(item_ids, *answers, strict=True) if any(flags)}
