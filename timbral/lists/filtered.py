"""Filtered lists: a user's lists from some items alone, kept apart from the list of all items.

They are in one hash a user, a field for each filter. A list holds for the model version that is live, for the sets as
they are, and for the plays that the user's own list knows of; where any of them has changed since, there is no list,
rather than one that shows what is no longer to be shown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from timbral import keys
from timbral.errors import ParameterError
from timbral.lists.blocks import StoredList, blocked_in, without_blocked
from timbral.lists.item_sets import unknown_set
from timbral.messages import Id
from timbral.plays.pending import is_after
from timbral.redis_server.replies import text

__all__ = ["ItemFilter", "read_filtered", "write_filtered"]


@dataclass(frozen=True)
class ItemFilter:
    """Names of item sets: an item must be in each of ``allow``, where there are any, and in none of ``exclude``."""

    allow: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict, compare=False)
    """Of the sets, where they are known."""

    @classmethod
    def of(cls, allow: Iterable[str] | None, exclude: Iterable[str] | None) -> ItemFilter:
        """Whatever the order of the names.

        Raises:
            ParameterError: a string stands for the names, whose letters would be names.
        """
        for called, names in (("allow", allow), ("exclude", exclude)):
            if isinstance(names, str):
                raise ParameterError(f"{called} must be a list of names of item sets, got {names!r:.80}")
        return cls(tuple(sorted(set(allow or ()))), tuple(sorted(set(exclude or ()))))

    @property
    def names(self) -> list[str]:
        """Of all its sets."""
        return sorted({*self.allow, *self.exclude})

    @property
    def text(self) -> str:
        """The field of the hash."""
        return f"allow={','.join(self.allow)}&exclude={','.join(self.exclude)}"

    def __bool__(self) -> bool:
        return bool(self.allow or self.exclude)


def write_filtered(
    client: redis.Redis,
    wanted: ItemFilter,
    model_version: str,
    ttl_s: int,
    lists: Sequence[tuple[Id, list[dict[str, Any]], str]],
) -> None:
    """Write lists ``(user, items, id in the stream of the newest play that it knows of)``."""
    head = {"model_version": model_version, "sets": wanted.versions, "until": time.time() + ttl_s}
    with client.pipeline(transaction=False) as pipeline:
        for user_id, items, newest in lists:
            name = keys.recommendations_filtered(user_id)
            pipeline.hset(name, wanted.text, json.dumps(head | {"newest": newest, "items": items}))
            pipeline.expire(name, ttl_s)
        pipeline.execute()


def read_filtered(client: redis.Redis, user_id: Id, wanted: ItemFilter) -> list[dict[str, Any]] | None:
    """The user's list, without what is blocked by now; None where there is none that still holds.

    Raises:
        ParameterError: there is no item set of one of the names.
    """
    names = wanted.names
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hget(keys.recommendations_filtered(user_id), wanted.text)
        pipeline.hmget(keys.ITEM_SETS, names)
        pipeline.get(keys.MODEL_CURRENT)
        pipeline.hget(keys.PLAYS_LISTED, keys.recommendations_user(user_id))
        stored, sets, live, listed = pipeline.execute()
    for name, value in zip(names, sets, strict=True):
        if value is None:
            raise unknown_set(name)
    if stored is None:
        return None
    found = json.loads(stored)
    versions = {name: json.loads(value)["version"] for name, value in zip(names, sets, strict=True)}
    if found["sets"] != versions or found["model_version"] != text(live) or found["until"] < time.time():
        return None
    if listed is not None and (not found["newest"] or is_after(text(listed), found["newest"])):
        return None
    items: list[dict[str, Any]] = found["items"]
    blocked = blocked_in(client, [StoredList("", user_id)], [items])[0]
    kept: list[dict[str, Any]] = without_blocked(items, blocked)
    return kept
