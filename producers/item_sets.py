"""Item sets: items by name, for lists of some items alone: a category, what may be shown in a country."""

from __future__ import annotations

from collections.abc import Iterable

from producers.connections import connections
from timbral.lists.item_sets import ItemSet, ItemSets
from timbral.messages import Id

__all__ = ["ItemSet", "delete_item_set", "get_item_set", "list_item_sets", "put_item_set"]


def put_item_set(name: str, item_ids: Iterable[Id]) -> ItemSet:
    """Have a set of items under ``name``, whatever was there before: at once, and whole.

    Lists that were made of what the set was before count no more: whoever asks for one gets none until it is made
    again.

    Args:
        name: 1 to 64 letters, digits, ".", "_" or "-", beginning with a letter or a digit.
        item_ids: original ids, any number; the model need not know them.

    Raises:
        ParameterError: the name or an id cannot be right; nothing was changed.
        RedisUnavailableError: Redis is away; nothing was changed.
    """
    with connections().asking() as client:
        return ItemSets(client).put(name, item_ids)


def delete_item_set(name: str) -> bool:
    """Remove a set; lists that name it are refused from then on.

    Returns:
        whether there was one.

    Raises:
        ParameterError: no set can have this name.
        RedisUnavailableError: Redis is away.
    """
    with connections().asking() as client:
        return ItemSets(client).delete(name)


def list_item_sets() -> list[ItemSet]:
    """The sets there are, by name: ``ItemSet(name, version, n_items, changed)``.

    Raises:
        RedisUnavailableError: Redis is away.
    """
    with connections().asking() as client:
        return ItemSets(client).listed()


def get_item_set(name: str, most: int | None = None) -> set[Id]:
    """The items of a set: all of them, or ``most``.

    Raises:
        ParameterError: there is no such set, or its items are not those that were put there.
        RedisUnavailableError: Redis is away.
    """
    with connections().asking() as client:
        return set(ItemSets(client).items(name, most))
