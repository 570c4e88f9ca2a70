"""Reading what the fleet wrote, without what was blocked since."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import redis

from producers.connections import connections
from timbral import keys
from timbral.messages import Id
from timbral.utils.redis_connector import decode_json

__all__ = ["get_popular", "get_recommendations", "get_recommendations_many"]

logger = logging.getLogger(__name__)

Recommendations = list[dict[str, Any]]
BATCH = 1000


def get_recommendations(user_id: Id, *, popular_if_cold: bool = False) -> Recommendations | None:
    """A user's recommendations, best first: ``[{"item_id": 12, "score": 0.83}, …]``, in one round trip.

    What is blocked, for the user or for everybody, is left out at the moment of reading.

    Args:
        user_id: original id.
        popular_if_cold: give what most users play to a user who has no list.

    Returns:
        None where there is no list (a cold user, an expired key) or Redis is away: raises nothing for that.
    """
    return (get_recommendations_many([user_id], popular_if_cold=popular_if_cold) or {}).get(user_id)


def get_recommendations_many(
    user_ids: Iterable[Id], *, popular_if_cold: bool = False
) -> dict[Id, Recommendations | None]:
    """``get_recommendations`` for each user, a thousand in a round trip."""
    wanted = list(dict.fromkeys(user_ids))
    found: dict[Id, Recommendations | None] = dict.fromkeys(wanted)
    for start in range(0, len(wanted), BATCH):
        found.update(_read(wanted[start : start + BATCH], popular_if_cold=popular_if_cold))
    return found


def get_popular() -> Recommendations | None:
    """What most users play, best first, without what is blocked for everybody; None where it is not known."""
    return _read([], popular_if_cold=True).get("")


def _read(user_ids: list[Id], *, popular_if_cold: bool) -> dict[Id, Recommendations | None]:
    names = [keys.recommendations_user(user_id) for user_id in user_ids]
    if popular_if_cold:
        names.append(keys.RECOMMENDATIONS_POPULAR)

    def ask(client: redis.Redis) -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            pipeline.mget(names)
            pipeline.smembers(keys.BLOCKS_ITEMS)
            for user_id in user_ids:
                pipeline.smembers(keys.blocks_user(user_id))
            answers: list[Any] = pipeline.execute()
            return answers

    answers = connections().cache.attempt("MGET", f"{names[0]} …", ask)
    if answers is None:
        return {}
    lists, blocked_for_all, *blocked = answers
    popular = decode_json(names[-1], lists[-1]) if popular_if_cold else None
    found: dict[Id, Recommendations | None] = {} if user_ids else {"": _without(popular, blocked_for_all)}
    for user_id, name, value, own in zip(user_ids, names, lists, blocked, strict=False):
        listed = decode_json(name, value)
        found[user_id] = _without(popular if listed is None else listed, blocked_for_all | own)
    return found


def _without(listed: Any, blocked: set[bytes]) -> Recommendations | None:
    if listed is None:
        return None
    try:
        return [item for item in listed if keys.encode_id(item["item_id"]).encode() not in blocked]
    except (TypeError, KeyError):
        logger.warning("A stored list of recommendations does not look like one: %s", str(listed)[:80])
        return None
