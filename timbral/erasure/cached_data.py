"""What the cache holds of users: lists, vectors, new plays, blocks, and their rows in the tables of all users'
embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import redis

from timbral import keys
from timbral.erasure.receipt import Receipt
from timbral.erasure.subject import Subject
from timbral.lists.forgotten import remove_keys
from timbral.messages import Id
from timbral.plays.pending import PendingPlays
from timbral.redis_server.replies import text, texts
from timbral.utils import plain_pickle

__all__ = ["CachedData", "moment"]

PER_CALL: Final = 1_000
REPLACE = """
-- KEYS: a value. ARGV: what it was, what it shall be. Its life stays.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
"""


class CachedData:
    """The Redis of the cache, asked for what is some users'."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self._replace = redis_client.register_script(REPLACE)

    def of(self, user_id: Id) -> dict[str, Any]:
        """All of one user, as JSON data."""
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.get(keys.recommendations_user(user_id))
            pipeline.get(keys.embeddings(keys.user_embedding_name(user_id)))
            pipeline.lrange(keys.plays_user(user_id), 0, -1)
            pipeline.smembers(keys.blocks_user(user_id))
            pipeline.hgetall(keys.recommendations_filtered(user_id))
            listed, embedding, plays, blocks, filtered = pipeline.execute()
        stored = plain_pickle.loads(embedding) if embedding is not None else None
        return {
            "recommendations": json.loads(listed) if listed is not None else None,
            "lists_from_sets": {name: json.loads(one)["items"] for name, one in texts(filtered).items()},
            "embedding": None if stored is None else _plain(stored),
            "new_plays": [
                {"item_id": item_id, "plays": n_plays, "at": moment(at_us)}
                for _, item_id, n_plays, at_us in PendingPlays.read(plays).plays
            ],
            "blocked_items": sorted((keys.decode_id(item) for item in blocks), key=str),
        }

    def remove(self, subject: Subject, receipt: Receipt) -> None:
        """Remove all of theirs."""
        for user_id in subject.digests:
            listed, filtered, vector, plays, blocks = keys.of_user(user_id)
            with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.exists(listed, filtered)
                pipeline.exists(vector)
                pipeline.llen(plays)
                pipeline.scard(blocks)
                remove_keys(pipeline, user_id)
                n_lists, n_vectors, n_plays, n_blocks, *_ = pipeline.execute()
            for what, n in (("lists", n_lists), ("vectors", n_vectors), ("new_plays", n_plays), ("blocks", n_blocks)):
                receipt.add(what, int(n))
        self._shrink_tables(subject, receipt)

    def exports(self, subject: Subject, receipt: Receipt) -> None:
        """Remove exports of theirs that nobody has read yet."""
        for key in self.redis.scan_iter(keys.export("*"), count=PER_CALL):
            value = self.redis.get(key)
            if value is not None and subject.is_theirs(json.loads(text(value)).get("user_id")):
                receipt.add("exports", int(self.redis.delete(key)))

    def _tables(self) -> Iterator[str]:
        """Keys of the tables of all users' embeddings, and of their shards, those of older models too."""
        name = keys.embeddings(keys.USER_EMBEDDINGS)
        for key in self.redis.scan_iter(f"{name}*", count=PER_CALL):
            if text(key) == name or text(key).startswith(f"{name}:"):
                yield text(key)

    def _shrink_tables(self, subject: Subject, receipt: Receipt) -> None:
        removed = {key: self._without_rows(key, subject) for key in self._tables()}
        receipt.add("table_rows", sum(removed.values()))
        name = keys.embeddings(keys.USER_EMBEDDINGS)
        stored: Any = self.redis.get(name)
        manifest = _table(stored)
        n_removed = sum(removed.get(keys.embeddings(shard), 0) for shard in manifest.get("shard_keys", ()))
        if n_removed:
            self._replace(
                keys=[name], args=[stored, plain_pickle.dumps({**manifest, "rows": manifest["rows"] - n_removed})]
            )

    def _without_rows(self, key: str, subject: Subject) -> int:
        while True:
            stored: Any = self.redis.get(key)
            table = _table(stored)
            ids = table.get("ids", [])
            theirs = set(subject.ids)
            gone = np.fromiter((one in theirs for one in _plain(ids)), dtype=bool)
            if not gone.any():
                return 0
            kept = np.flatnonzero(~gone)
            others = ids[kept] if isinstance(ids, np.ndarray) else [ids[place] for place in kept.tolist()]
            smaller = plain_pickle.dumps({**table, "ids": others, "factors": table["factors"][kept]})
            if self._replace(keys=[key], args=[stored, smaller]):
                return int(gone.sum())


def moment(at_us: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat()


def _table(stored: Any) -> dict[str, Any]:
    """What a key of embeddings holds; nothing where it is no table of ours."""
    try:
        table = plain_pickle.loads(stored) if stored is not None else None
    except plain_pickle.PlainPickleError:
        return {}
    return table if isinstance(table, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
