"""EmbeddingRefresh: factors into the cache, everybody's or those of users who have just played something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from timbral import keys
from timbral.config.settings import settings
from timbral.data.id_index import IdIndex
from timbral.errors import RedisUnavailableError
from timbral.lists.forgotten import Forgotten
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.messages import Id
from timbral.plays.user_replies import UserReplies
from timbral.utils.redis_connector import RedisConnector
from timbral.versions.served_model import ServedModel

__all__ = ["EmbeddingRefresh"]

SHARD_BYTES = 8 * 2**20
"""Factors up to this size lie under one key; larger ones in shards of it, since a value of hundreds of MB stalls
Redis."""

USERS_PER_BLOCK = 2_000


class EmbeddingRefresh:
    """Writes embeddings of one model version through the connector; unlike it, raises where a write fails."""

    def __init__(self, redis_client: redis.Redis, connector: RedisConnector, served: ServedModel) -> None:
        self.redis = redis_client
        self.connector = connector
        self.served = served
        self.ttl_s = settings.EMBEDDINGS_TTL_S
        self.forgotten = Forgotten(redis_client)

    def everybody(self, on_shard: Callable[[int, int], None] | None = None) -> tuple[int, int]:
        """Write all users' and all items' factors; returns how many of each.

        A table is ``{"model_version", "ids", "factors"}``, ``factors`` float32 (len(ids), n_components). A large one is
        ``{"model_version", "shards", "rows", "shard_keys"}``: the shards come first and are keyed by version, so
        whoever reads the table's key finds a whole one, the old or the new.
        """
        while True:
            n_forgotten = self.forgotten.count()
            written = self._write_everybody(on_shard)
            if self.forgotten.count() == n_forgotten:
                return written
            # Somebody was forgotten meanwhile, who may be in a table that was written after the erasure had looked at
            # it.

    def _write_everybody(self, on_shard: Callable[[int, int], None] | None) -> tuple[int, int]:
        model = self.served.model
        users = model.tensors()[0]["user_factors"]
        items = model.tensors()[0]["item_vectors"]
        gone = set(self.served.forgotten_rows.tolist())
        if self.forgotten.count():
            gone |= set(self.served.user_ids.codes(list(self.forgotten.among(list(self.served.user_ids)))).tolist())
        n_shards = len(_parts(users)) + len(_parts(items))
        done = 0
        for name, ids, factors, left_out in (
            (keys.USER_EMBEDDINGS, self.served.user_ids, users, gone),
            (keys.ITEM_EMBEDDINGS, self.served.item_ids, items, set()),
        ):
            for _ in self._write_table(name, ids, factors, left_out):
                done += 1
                if on_shard is not None:
                    on_shard(done, n_shards)
        return len(users) - len(gone), len(items)

    def _write_table(
        self, name: str, ids: IdIndex, factors: npt.NDArray[np.float32], left_out: set[int]
    ) -> Iterator[None]:
        version = self.served.version
        parts = _parts(factors)
        if len(parts) == 1:
            self._set(name, {"model_version": version, **_rows(ids, factors, parts[0], left_out)})
            yield
            return
        shard_keys = [f"{name}:{version}:{number}" for number in range(len(parts))]
        for key, part in zip(shard_keys, parts, strict=True):
            self._set(key, {"model_version": version, **_rows(ids, factors, part, left_out)})
            yield
        n_rows = len(factors) - len(left_out)
        manifest = {"model_version": version, "shards": len(parts), "rows": n_rows, "shard_keys": shard_keys}
        self._set(name, manifest)

    def users(self, user_ids: Sequence[Id], top_k: int, replies: UserReplies | None = None) -> tuple[int, int]:
        """Fold the named users' new plays in, write each one's vector and recommendations.

        ``replies`` are what Redis has just replied of these users, where it was asked.

        Gives (users written, users unknown: neither in the model nor with a play of an item that it knows).
        """
        batch = BatchRecommendation(self.redis, self.served, top_k=top_k, replies=replies)
        wanted = list(dict.fromkeys(user_ids))
        n_written = 0
        for start in range(0, len(wanted), USERS_PER_BLOCK):
            block = wanted[start : start + USERS_PER_BLOCK]
            n_written += batch.with_vectors(block, self.ttl_s).users
        return n_written, len(wanted) - n_written

    def _set(self, name: str, value: dict[str, Any]) -> None:
        if not self.connector.set_embeddings(name, value, self.ttl_s):
            raise RedisUnavailableError(self.connector.address, f"{keys.embeddings(name)} was not stored")


def _parts(factors: npt.NDArray[np.float32]) -> list[range]:
    n_rows, width = factors.shape
    step = max(1, SHARD_BYTES // max(1, 4 * width))
    return [range(start, min(start + step, n_rows)) for start in range(0, max(1, n_rows), step)]


def _rows(ids: IdIndex, factors: npt.NDArray[np.float32], part: range, left_out: set[int]) -> dict[str, Any]:
    codes = np.array([code for code in part if code not in left_out]) if left_out else np.asarray(part)
    listed = ids.ids(codes)
    return {"ids": np.asarray(listed, dtype=np.int64) if ids.is_int else listed, "factors": np.array(factors[codes])}
