"""Fresh lists: what is done to the best items of a user before they become a list. All of it is off by default.

- **At most n items of a group** (an artist): the app says in ``items:groups`` which item is of which; an item without a
group is alone in its own.
- **Exploration**: a share of a list's places, the last ones, goes to items from further down, which would not be seen
otherwise. They are
  drawn by user and model version: a list that is written again is the same.

Both pick from the candidates, the ``depth`` best items. A further rule (not what was shown five times without a play,
say) is a further step of ``choose``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import redis

from timbral import keys
from timbral.data.id_index import IdIndex
from timbral.messages import Id
from timbral.models.search.top_k import TopK

__all__ = ["FreshLists", "groups_of"]

DEPTH: Final = 5
"""Candidates of a list, in lists' lengths."""

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FreshLists:
    """What lists are to be like.

    Attributes:
        max_per_group: most items of a group in a list; 0 for any number.
        exploration_share: of a list's places, in [0, 1).
    """

    max_per_group: int = 0
    exploration_share: float = 0.0

    def lists(
        self,
        ask: Callable[[int], TopK],
        top_k: int,
        n_items: int,
        owners: Sequence[str],
        groups: Callable[[npt.NDArray[np.int32]], Groups],
    ) -> TopK:
        """Lists of at most ``top_k`` items.

        Args:
            ask: the best items of each user, as many as it is asked for, what is ruled out left out.
            top_k: length of a list.
            n_items: of the catalogue.
            owners: whose list each is, for the draw.
            groups: the group of each of some items, int64; equal for items of one group.
        """
        if not self.max_per_group and not self.exploration_share:
            return ask(top_k)
        depth = min(top_k * DEPTH, n_items)
        while True:
            found = ask(depth)
            allowed = self._allowed(found, groups)
            short = np.add.reduceat(np.append(allowed, 0), found.indptr[:-1]) if len(found) else np.empty(0)
            short = np.where(np.diff(found.indptr) > 0, short, 0)
            # Where one group fills the candidates of a list that could go on, the next ones are looked at.
            if depth >= n_items or not ((short < top_k) & (np.diff(found.indptr) >= depth)).any():
                break
            depth = min(depth * DEPTH, n_items)
        return self._explored(_chosen(found, allowed), top_k, owners)

    def _allowed(self, found: TopK, groups: Callable[[npt.NDArray[np.int32]], Groups]) -> npt.NDArray[np.bool_]:
        """Which candidates stand among the first ``max_per_group`` of their group in their list."""
        if not self.max_per_group:
            return np.ones(len(found.item_indices), dtype=bool)
        owner = np.repeat(np.arange(len(found)), np.diff(found.indptr))
        group = groups(found.item_indices)
        order = np.lexsort((np.arange(len(owner)), group, owner))
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (owner[order][1:] != owner[order][:-1]) | (group[order][1:] != group[order][:-1])
        starts = np.flatnonzero(is_first)
        place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
        allowed = np.empty(len(order), dtype=bool)
        allowed[order] = place < self.max_per_group
        return allowed

    def _explored(self, candidates: TopK, top_k: int, owners: Sequence[str]) -> TopK:
        n_explored = int(self.exploration_share * top_k + 0.5)
        picked = np.zeros(len(candidates.item_indices), dtype=bool)
        for place in range(len(candidates)):
            start, stop = int(candidates.indptr[place]), int(candidates.indptr[place + 1])
            n_best = min(top_k - n_explored, stop - start)
            picked[start : start + n_best] = True
            n_left = min(top_k - n_best, stop - start - n_best)
            if n_left:
                seed = int.from_bytes(hashlib.blake2b(owners[place].encode(), digest_size=8).digest(), "big")
                drawn = np.random.default_rng(seed).choice(stop - start - n_best, n_left, replace=False)
                picked[start + n_best + drawn] = True
        return _chosen(candidates, picked)


def groups_of(client: redis.Redis, item_ids: IdIndex, items: npt.NDArray[np.int32]) -> Groups:
    """The group of each of ``items`` (codes): the place of the first asked item of the group, or minus the item's code
    and 1 where the app has given none.
    """
    asked, place_of = np.unique(items, return_inverse=True)
    if not len(asked):
        return np.empty(0, np.int64)
    ids: list[Id] = item_ids.ids(asked)
    named = client.hmget(keys.ITEMS_GROUPS, [keys.encode_id(item_id) for item_id in ids])
    first: dict[bytes | str, int] = {}
    group = [
        -1 - int(code) if name is None else first.setdefault(name, place)
        for place, (code, name) in enumerate(zip(asked, named, strict=True))
    ]
    return np.asarray(group, dtype=np.int64)[place_of]


def _chosen(found: TopK, which: npt.NDArray[np.bool_]) -> TopK:
    """``found`` with the entries ``which`` alone."""
    before = np.concatenate([[0], np.cumsum(which)])
    return TopK(before[found.indptr].astype(found.indptr.dtype), found.item_indices[which], found.scores[which])
