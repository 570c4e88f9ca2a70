"""Forgotten: who was forgotten, as salted hashes, so that nothing that arrives late brings them back.

Whoever writes something of a user asks ``keep_out`` before and after: a user who is forgotten in between is found by
one of the two, or by the erasure, which notes the hash first and removes everything after that.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis
from redis.client import Pipeline

from timbral import keys
from timbral.messages import Id

__all__ = ["Forgotten", "pseudonym", "remove_keys"]

SALT_BYTES: Final = 32
HASH_BYTES: Final = 16
PER_CALL: Final = 5_000
_PSEUDONYM = re.compile(r"forgotten:([0-9a-f]{32})")


def remove_keys(pipeline: Pipeline, user_id: Id) -> None:
    """Put onto a pipeline what removes all that is kept of one user under keys and in members of their own."""
    members = keys.members_of(user_id)
    pipeline.delete(*keys.of_user(user_id))
    pipeline.srem(keys.PLAYS_USERS, *members)
    pipeline.zrem(keys.PLAYS_REFRESH, *members)
    pipeline.zrem(keys.PLAYS_REFRESHING, *members)
    pipeline.hdel(keys.PLAYS_REFRESH_ATTEMPTS, *members)
    pipeline.hdel(keys.PLAYS_LISTED, keys.recommendations_user(user_id))


def pseudonym(digest: str) -> str:
    """What stands in a message or a record where the id of a forgotten user stood; it counts as a forgotten user's
    id."""
    return f"forgotten:{digest}"


class Forgotten:
    """The forgotten users of one fleet.

    The hash is of the id as text: 1 and "1" share their keys in Redis, and so they are forgotten together.
    """

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client

    def add(self, user_ids: Iterable[Id]) -> dict[str, str]:
        """From now on these users are kept out; returns the hash by the id as text."""
        self.redis.set(keys.FORGOTTEN_SALT, secrets.token_hex(SALT_BYTES), nx=True)
        salt = self._salt()
        digests = {str(user_id): _digest(salt, user_id) for user_id in user_ids}
        if digests:
            self.redis.sadd(keys.FORGOTTEN_USERS, *digests.values())
        return digests

    def count(self) -> int:
        """How many users were forgotten."""
        return int(self.redis.scard(keys.FORGOTTEN_USERS))

    def among(self, user_ids: Sequence[Id], salt: bytes | str | None = None) -> set[Id]:
        """Those of ``user_ids`` who were forgotten; one question to Redis where nobody ever was.

        Args:
            salt: what ``FORGOTTEN_SALT`` holds, where the caller has just asked for it: "" for nothing.
        """
        salt = _bytes(self._salt() if salt is None and user_ids else salt)
        found: set[Id] = set()
        if not salt:
            return found
        for start in range(0, len(user_ids), PER_CALL):
            part = list(user_ids[start : start + PER_CALL])
            flags: Any = self.redis.smismember(keys.FORGOTTEN_USERS, [_digest(salt, user_id) for user_id in part])
            found |= {user_id for user_id, flag in zip(part, flags, strict=True) if flag}
        return found

    def keep_out(self, user_ids: Sequence[Id], salt: bytes | str | None = None) -> set[Id]:
        """Those of ``user_ids`` who were forgotten; what the cache may hold of them again is removed. Arguments are
        those of ``among``."""
        found = self.among(user_ids, salt)
        if found:
            with self.redis.pipeline(transaction=True) as pipeline:
                for user_id in found:
                    remove_keys(pipeline, user_id)
                pipeline.execute()
        return found

    def _salt(self) -> bytes:
        salt: Any = self.redis.get(keys.FORGOTTEN_SALT)
        return _bytes(salt)


def _bytes(salt: bytes | str | None) -> bytes:
    return salt.encode() if isinstance(salt, str) else salt or b""


def _digest(salt: bytes, user_id: Id) -> str:
    known = _PSEUDONYM.fullmatch(user_id) if isinstance(user_id, str) else None
    if known:
        return known.group(1)
    text = str(user_id).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=salt, digest_size=HASH_BYTES).hexdigest()
