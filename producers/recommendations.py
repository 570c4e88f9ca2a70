"""Reading what the fleet wrote, without what was blocked or hidden since."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import redis

from producers.connections import connections
from timbral import keys
from timbral.errors import ParameterError
from timbral.lists.blocks import StoredList
from timbral.lists.filtered import ItemFilter, read_filtered
from timbral.lists.served_list import served_list
from timbral.messages import Id, checked_id, checked_ids
from timbral.plays.pending import PendingPlays

__all__ = ["get_popular", "get_recommendations", "get_recommendations_many", "get_similar"]

logger = logging.getLogger(__name__)

Recommendations = list[dict[str, Any]]


def get_recommendations(
    user_id: Id, *, popular_if_cold: bool = False, allow: Iterable[str] = (), exclude: Iterable[str] = ()
) -> Recommendations | None:
    """A user's recommendations, best first: ``[{"item_id": 12, "score": 0.83}, …]``, in one round trip, or two where
    there are blocks.

    What is blocked for the user, or hidden from everybody, is left out at the moment of reading.

    Args:
        user_id: original id.
        popular_if_cold: give what most users play to a user who has no list, without what this user has played since
            the live model was trained. (The HTTP API, which reads the model, leaves out what was played before, too.)
        allow, exclude: names of item sets: the list of these items alone that ``enqueue_compute_recommendations`` with
            the same names has written. It counts until a new model is live, a set is put anew, or the user's own list
            knows of newer plays.

    Returns:
        None where there is no list (a cold user, an expired key) or Redis is away: raises nothing for that.

    Raises:
        ParameterError: the id is neither an int nor a string; there is no item set of one of the names; or popular
            items are asked for from item sets.
    """
    wanted = ItemFilter.of(allow, exclude)
    if wanted:
        if popular_if_cold:
            raise ParameterError("popular items are of all items: popular_if_cold goes with neither allow nor exclude")
        return _from_sets(checked_id(user_id), wanted)
    (listed,) = get_recommendations_many([user_id], popular_if_cold=popular_if_cold).values()
    return listed


def get_recommendations_many(
    user_ids: Iterable[Id], *, popular_if_cold: bool = False
) -> dict[Id, Recommendations | None]:
    """``get_recommendations`` for each user, a thousand in a round trip.

    Raises:
        ParameterError: an id is neither an int nor a string, or a string stands for the list.
    """
    wanted = list(dict.fromkeys(checked_ids(user_ids, "user_ids")))
    found = _read([StoredList(keys.recommendations_user(user_id), user_id) for user_id in wanted])
    cold = [place for place, listed in enumerate(found) if listed is None] if popular_if_cold else []
    popular = _read([StoredList(keys.RECOMMENDATIONS_POPULAR, wanted[place]) for place in cold])
    played = _played([wanted[place] for place in cold])
    for place, listed, seen in zip(cold, popular, played, strict=True):
        # Whose plays cannot be read gets no list: what somebody has just heard is no recommendation.
        answer = served_list(None, None if seen is None else listed, seen=seen or ())
        found[place] = None if answer.source == "none" else answer.items
    return dict(zip(wanted, found, strict=True))


def get_popular() -> Recommendations | None:
    """What most users play, best first, without what is hidden from everybody; None where it is not known."""
    return _read([StoredList(keys.RECOMMENDATIONS_POPULAR)])[0]


def get_similar(item_id: Id) -> Recommendations | None:
    """What is like an item, the closest first: ``[{"item_id": 12, "score": 0.73}, …]``, without what is hidden from
    everybody.

    The lists are written with each model that goes live, and renewed with everybody's recommendations.

    Args:
        item_id: original id.

    Returns:
        None where there is no list (an item that the live model does not know, an expired key) or Redis is away.

    Raises:
        ParameterError: the id is neither an int nor a string.
    """
    return _read([StoredList(keys.similar_item(checked_id(item_id)))])[0]


def _from_sets(user_id: Id, wanted: ItemFilter) -> Recommendations | None:
    def ask(client: redis.Redis) -> Recommendations | ParameterError | None:
        try:
            return read_filtered(client, user_id, wanted)
        except ParameterError as error:  # no answer of Redis', which would be logged and told as None
            return error

    found = connections().cache.attempt("HGET", keys.RECOMMENDATIONS_FILTERED, ask)
    if isinstance(found, ParameterError):
        raise found
    return found


def _read(lists: list[StoredList]) -> list[Recommendations | None]:
    stored = connections().cache.get_lists(lists)
    if stored is None:
        return [None] * len(lists)
    return [_checked(one.key, listed) for one, listed in zip(lists, stored, strict=True)]


def _checked(key: str, listed: Any) -> Recommendations | None:
    if listed is None:
        return None
    if isinstance(listed, list) and all(isinstance(item, dict) and "item_id" in item for item in listed):
        return listed
    logger.warning("What is stored under %s does not look like a list of items: %s", key, str(listed)[:80])
    return None


def _played(user_ids: list[Id]) -> list[set[Id] | None]:
    """What each user has played since the live model was trained, None where Redis does not say."""

    def ask(client: redis.Redis) -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            for user_id in user_ids:
                pipeline.lrange(keys.plays_user(user_id), 0, -1)
            return list(pipeline.execute())

    replies = connections().cache.attempt("LRANGE", keys.PLAYS_USER, ask) if user_ids else []
    if replies is None:
        return [None] * len(user_ids)
    return [set(PendingPlays.read(reply).by_item()) for reply in replies]
