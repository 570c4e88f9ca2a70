"""ItemLists: a version's lists that are nobody's, similar and popular items, put aside and then switched in with the
version.

They are written under names of their own while the version before is live. The step that makes the version live renames
them: no
reader meets the lists of two versions mixed, nor half of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import redis

from timbral import keys
from timbral.config.settings import settings
from timbral.judging.popularity import by_popularity
from timbral.models.search.top_k import TopK
from timbral.versions.fresh_lists import FreshLists, groups_of
from timbral.versions.served_model import ServedModel

__all__ = ["POPULAR_TOP_K", "ItemLists", "popular_items"]

WRITES_PER_TRIP: Final = 500
POPULAR_TOP_K: Final = 10
SCORE_DIGITS: Final = 6


class ItemLists:
    """The lists in Redis."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client

    def put_aside(self, served: ServedModel) -> list[str]:
        """Write the version's lists under names of their own; returns the names that they are to get."""
        lists = self._lists(served)
        names: list[str] = []
        while part := list(islice(lists, WRITES_PER_TRIP)):
            with self.redis.pipeline(transaction=False) as pipeline:
                for name, value in part:
                    pipeline.set(keys.similar_staged(served.version, name), value, ex=settings.RECOMMENDATIONS_TTL_S)
                pipeline.execute()
            names += [name for name, _ in part]
        return names

    def drop(self, version: str, names: Sequence[str]) -> None:
        """The version does not go live: its lists are not wanted."""
        for start in range(0, len(names), WRITES_PER_TRIP):
            part = names[start : start + WRITES_PER_TRIP]
            self.redis.unlink(*(keys.similar_staged(version, name) for name in part))

    def _lists(self, served: ServedModel) -> Iterator[tuple[str, str]]:
        similar = served.similar
        if similar is not None:
            ids = served.item_ids
            for row, item_id in enumerate(ids.ids(similar.listed)):
                found = similar.items[row][similar.items[row] >= 0]
                yield keys.similar_item(item_id), _as_json(ids.ids(found), similar.scores[row][: len(found)])
        hidden = served.codes_of_items([keys.decode_id(item) for item in self.redis.smembers(keys.BLOCKS_ITEMS)])
        yield (
            keys.RECOMMENDATIONS_POPULAR,
            popular_items(self.redis, served, hidden, POPULAR_TOP_K, settings.MAX_PER_GROUP),
        )
        yield keys.SIMILAR_VERSION, served.version


def popular_items(
    client: redis.Redis, served: ServedModel, hidden: npt.NDArray[np.int32] | None, top_k: int, max_per_group: int
) -> str:
    """What most users play, without the items ``hidden``, as a stored list; the score is the share of users."""
    users = served.users_per_item.copy()
    if hidden is not None:
        users[hidden] = -1
    ranked = by_popularity(users).astype(np.int32)
    ranked = ranked[users[ranked] >= 0]

    def ask(length: int) -> TopK:
        found = ranked[:length]
        return TopK(np.array([0, len(found)]), found, np.zeros(len(found), np.float32))

    groups = partial(groups_of, client, served.item_ids)
    best = FreshLists(max_per_group).lists(ask, top_k, len(ranked), [""], groups).item_indices
    return _as_json(served.item_ids.ids(best), users[best] / max(1, len(served.user_ids)))


def _as_json(item_ids: Sequence[Any], scores: npt.NDArray[Any]) -> str:
    rounded = np.round(np.asarray(scores, dtype=np.float64), SCORE_DIGITS).tolist()
    return json.dumps([{"item_id": item_id, "score": score} for item_id, score in zip(item_ids, rounded, strict=True)])
