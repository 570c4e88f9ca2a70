"""Items that must not be recommended: blocked for one user, or hidden from everybody. They count from the next read
on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from producers.connections import connections
from timbral import keys
from timbral.lists.forgotten import Forgotten
from timbral.messages import Id, checked_id, checked_ids

__all__ = ["block_items", "blocked_items", "hidden_items", "hide_items", "unblock_items", "unhide_items"]


def block_items(user_id: Id | None, item_ids: Iterable[Id]) -> int:
    """Never recommend these items to the user again, or to anybody where ``user_id`` is None.

    Returns:
        how many of them were not blocked before; 0 for a user who was forgotten, of whom nothing is stored any more.

    Raises:
        ParameterError: an id is neither an int nor a string, or a string stands for the list.
        RedisUnavailableError: Redis is away; nothing was blocked.
    """
    members = [keys.encode_id(item_id) for item_id in checked_ids(item_ids, "item_ids")]
    if not members:
        return 0
    with connections().asking() as client:
        n_new = int(client.sadd(_key(user_id), *members))
        # After it, and not before: who is forgotten in between would keep them.
        if user_id is not None and Forgotten(client).among([user_id]):
            client.srem(_key(user_id), *members)
            return 0
        return n_new


def unblock_items(user_id: Id | None, item_ids: Iterable[Id]) -> int:
    """Take items off the user's list, or off everybody's where ``user_id`` is None.

    Returns:
        how many of them were on it.

    Raises:
        ParameterError: an id is neither an int nor a string, or a string stands for the list.
        RedisUnavailableError: Redis is away.
    """
    members = [keys.encode_id(item_id) for item_id in checked_ids(item_ids, "item_ids")]
    with connections().asking() as client:
        return int(client.srem(_key(user_id), *members)) if members else 0


def blocked_items(user_id: Id | None = None) -> set[Id]:
    """The items on the user's own list, or on everybody's where ``user_id`` is None.

    Raises:
        RedisUnavailableError: Redis is away.
    """
    with connections().asking() as client:
        members: Any = client.smembers(_key(user_id))
    return {keys.decode_id(member) for member in members}


def hide_items(item_ids: Iterable[Id]) -> int:
    """Show these items to nobody any more: what was taken down, is unlicensed, is broken.

    From the next read on they are in no list that is read through timbral, however many lists hold them:
    recommendations, popular and similar items. An app that GETs the keys itself sees them until the lists are written
    again.

    Returns:
        how many of them were not hidden before.

    Raises:
        ParameterError: an id is neither an int nor a string, or a string stands for the list.
        RedisUnavailableError: Redis is away; nothing was hidden.
    """
    return block_items(None, item_ids)


def unhide_items(item_ids: Iterable[Id]) -> int:
    """Let items be shown again.

    Returns:
        how many of them were hidden.

    Raises:
        ParameterError: an id is neither an int nor a string, or a string stands for the list.
        RedisUnavailableError: Redis is away.
    """
    return unblock_items(None, item_ids)


def hidden_items() -> set[Id]:
    """The items that nobody is shown.

    Raises:
        RedisUnavailableError: Redis is away.
    """
    return blocked_items(None)


def _key(user_id: Id | None) -> str:
    return keys.BLOCKS_ITEMS if user_id is None else keys.blocks_user(checked_id(user_id))
