"""Blocks at the moment of reading: stored lists without what their owner, or everybody, must not get by now.

Lists are not rewritten when an item is hidden; whoever reads them leaves it out. The first question fetches the lists
and asks whether there are any blocks at all; only where there are is a second one asked, about the items in the lists,
whose cost does not grow with the number of hidden items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import redis

from timbral import keys

__all__ = ["StoredList", "StoredLists", "blocked_in", "fetch", "without_blocked"]

Id = int | str


class StoredList(NamedTuple):
    """A list's key, and the user whose own blocks count for it; None for a list of nobody's."""

    key: str
    user_id: Id | None = None


class StoredLists(NamedTuple):
    """What lies under the keys, as it is, and whether anything may be blocked in it."""

    values: list[Any]
    has_blocks: bool


def fetch(client: redis.Redis, lists: Sequence[StoredList]) -> StoredLists:
    """The lists, in one round trip."""
    owners = {keys.blocks_user(one.user_id) for one in lists if one.user_id is not None}
    with client.pipeline(transaction=False) as pipeline:
        if len(lists) == 1:  # unlike MGET it says so where the key holds something that is no string
            pipeline.get(lists[0].key)
        else:
            pipeline.mget([one.key for one in lists])
        pipeline.exists(keys.BLOCKS_ITEMS, *owners)
        values, n_blocks = pipeline.execute()
    return StoredLists([values] if len(lists) == 1 else values, n_blocks > 0)


def blocked_in(client: redis.Redis, lists: Sequence[StoredList], listed: Sequence[Any]) -> list[set[Id]]:
    """Of each of ``listed``, the ids in it that its owner, or everybody, must not get; in one round trip."""
    ids = [sorted(_ids(one), key=repr) for one in listed]
    everywhere = sorted({item_id for part in ids for item_id in part}, key=repr)
    if not everywhere:
        return [set() for _ in lists]
    asked = [place for place, one in enumerate(lists) if one.user_id is not None and ids[place]]
    with client.pipeline(transaction=False) as pipeline:
        pipeline.smismember(keys.BLOCKS_ITEMS, [keys.encode_id(item_id) for item_id in everywhere])
        for place in asked:
            owner = lists[place].user_id
            assert owner is not None  # noqa: S101 - for the type checker
            pipeline.smismember(keys.blocks_user(owner), [keys.encode_id(item_id) for item_id in ids[place]])
        for_all, *own = pipeline.execute()
    hidden = {item_id for item_id, flag in zip(everywhere, for_all, strict=True) if flag}
    found = [hidden & set(part) for part in ids]
    for place, flags in zip(asked, own, strict=True):
        found[place] |= {item_id for item_id, flag in zip(ids[place], flags, strict=True) if flag}
    return found


def without_blocked(listed: Any, blocked: set[Id]) -> Any:
    """The list without its entries of ``blocked`` items; anything else as it is."""
    if not blocked or not isinstance(listed, list):
        return listed
    return [entry for entry in listed if not blocked.intersection(_ids([entry]))]


def _ids(listed: Any) -> set[Id]:
    entries: Iterable[Any] = listed if isinstance(listed, list) else ()
    found: Iterable[Any] = (entry.get("item_id") for entry in entries if isinstance(entry, dict))
    # By type: True equals 1 and is no id.
    return {item_id for item_id in found if isinstance(item_id, int | str) and not isinstance(item_id, bool)}
