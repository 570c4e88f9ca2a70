"""What a user is shown: their own list, or what is popular, without what they have or must not get.

One pure function for whoever answers users, an app through ``producers`` and the HTTP API alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

__all__ = ["Item", "ServedList", "Source", "served_list"]

Item = dict[str, Any]
"""``{"item_id": …, "score": …}`` and what else was stored with it."""
Source = Literal["cache", "popular", "none"]
Id = int | str


class ServedList(NamedTuple):
    """The items, best first, and where they come from: the user's own list, what is popular, or no list of any kind."""

    items: list[Item]
    source: Source


def served_list(
    listed: Sequence[Item] | None,
    popular: Sequence[Item] | None,
    *,
    seen: Collection[Id] = (),
    blocked: Collection[Id] = (),
) -> ServedList:
    """What to show a user.

    Args:
        listed: the user's own list; None where there is none, which an empty list is not.
        popular: what most users play, for a user without a list of their own; None where it is not known, or not
            wanted.
        seen: ids of what the user has played. A list of their own was made without it, unless somebody asked for it:
            there it stays.
        blocked: ids of what the user, or everybody, must not get.
    """
    if listed is not None:
        return ServedList([item for item in listed if item["item_id"] not in blocked], "cache")
    if popular is None:
        return ServedList([], "none")
    return ServedList([i for i in popular if i["item_id"] not in blocked and i["item_id"] not in seen], "popular")
