"""Numbering: which users and items are left when thresholds were kept to and the forgotten left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from timbral.engines.block_store import BlockStore
from timbral.errors import DataError
from timbral.spark_data.entries import GONE, Merging

__all__ = ["NEW_ITEM", "NEW_USER", "Numbering"]

NEW_USER: Final = "new.users"
NEW_ITEM: Final = "new.items"
"""Of each code its final one; -1 where it is left out."""

Codes = npt.NDArray[np.int64]


class Numbering(NamedTuple):
    """``users`` and ``items`` are the codes that are left, ascending; and how many entries each has."""

    users: Codes
    items: Codes
    user_counts: Codes
    item_counts: Codes

    @classmethod
    def of(
        cls, store: BlockStore, merging: Merging, answers: Sequence[dict[str, Any]], value_col: str | None
    ) -> Numbering:
        """Of the blocks that ``merge_block`` has made.

        Raises:
            DataError: nothing is left; says why.
        """
        _check(merging, answers, value_col)
        users, user_places = np.zeros(merging.n_users, np.int64), np.zeros(merging.n_users, np.int64)
        items, item_places = np.zeros(merging.n_items, np.int64), np.zeros(merging.n_items, np.int64)
        for answer in answers:
            found = store.get_all(f"counts{answer['block']}")
            first = answer["block"] * merging.block_users
            rows = slice(first, first + len(found["users"]))
            users[rows], user_places[rows] = found["users"], found["places"]
            items[found["item_codes"]] += found["item_counts"]
            item_places[found["place_codes"]] += found["place_counts"]
        # With a user who has nothing but zeros, too, if it is a forgotten one.
        lost = len(store.get(GONE)) > 0 or any(answer["n_entries"] < answer["n_nonzero"] for answer in answers)
        # Who was only in rows that were left out is nobody; one with nothing but zeros is a user all the same.
        left_users = np.flatnonzero(users if lost else user_places)
        left_items = np.flatnonzero(items if lost else item_places)
        for name, left, n in ((NEW_USER, left_users, merging.n_users), (NEW_ITEM, left_items, merging.n_items)):
            new = np.full(n, -1, np.int32)
            new[left] = np.arange(len(left), dtype=np.int32)
            store.put(name, new)
        return cls(left_users, left_items, users[left_users], items[left_items])


def _check(merging: Merging, answers: Sequence[dict[str, Any]], value_col: str | None) -> None:
    for answer in sorted(answers, key=lambda one: one["block"]):
        if "problem" in answer:
            raise DataError(answer["problem"])
    if not any(answer["n_nonzero"] for answer in answers):
        said = "" if value_col is None else f"column {value_col!r}: "
        raise DataError(f"{said}every value is 0; there is nothing to learn from")
    if not any(answer["n_often"] for answer in answers):
        most = max(answer["largest"] for answer in answers)
        raise DataError(f"no user played an item {merging.min_plays:g} times or more; the most is {most:g}")
    if not any(answer["n_entries"] for answer in answers):
        raise DataError("nobody is left: all of its users were forgotten")
