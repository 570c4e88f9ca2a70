"""Overlay: what has happened since the training: new plays, and blocks. They lie over what the model knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import redis
import structlog

from timbral import keys
from timbral.config.settings import settings
from timbral.forgotten import Forgotten
from timbral.keys import decode_id, encode_id
from timbral.messages import Id, Play
from timbral.replies import text
from timbral.versions.served_model import ServedModel

__all__ = ["Overlay", "UserOverlay"]

logger = structlog.get_logger(__name__)

PLAYS_PER_CALL = 2_000
ASK_EACH_UP_TO = 50
"""Up to this many users are asked one by one; for more, it is first asked whether any of them has something."""

ADD_PLAYS = """
-- KEYS: what the task has added, users with plays. ARGV: part, life of the first, then for each play: key, user, item, plays.
if redis.call('HSETNX', KEYS[1], ARGV[1], 1) == 0 then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[2])
for place = 3, #ARGV, 4 do
  redis.call('HINCRBYFLOAT', ARGV[place], ARGV[place + 2], ARGV[place + 3])
  redis.call('SADD', KEYS[2], ARGV[place + 1])
end
return 1
"""

DROP_SEEN = """
-- KEYS: a user's plays, users with plays. ARGV: user, then for each item: item, the plays that were there.
local dropped = 0
for place = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[place]) == ARGV[place + 1] then
    dropped = dropped + redis.call('HDEL', KEYS[1], ARGV[place])
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
return dropped
"""


@dataclass(frozen=True)
class UserOverlay:
    """Of some users: ``plays`` and ``blocks`` by the user's place in the question, and what is blocked for all."""

    plays: dict[int, dict[Id, float]]
    blocks: dict[int, list[Id]]
    blocked_items: list[Id]


class Overlay:
    """The new plays and the blocks in Redis."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self.forgotten = Forgotten(redis_client)
        self._add = redis_client.register_script(ADD_PLAYS)
        self._drop = redis_client.register_script(DROP_SEEN)

    def add_plays(self, task_id: str, plays: Sequence[Play]) -> None:
        """Add ``plays`` to what the users have played; once, however often the task is delivered. Forgotten users stay out."""
        users = list(dict.fromkeys(play.user_id for play in plays))
        gone = self.forgotten.keep_out(users)
        plays = [play for play in plays if play.user_id not in gone] if gone else plays
        for part, start in enumerate(range(0, len(plays), PLAYS_PER_CALL)):
            arguments: list[str | int] = [part, settings.RESULT_EXPIRES_S]
            for play in plays[start : start + PLAYS_PER_CALL]:
                user, item = encode_id(play.user_id), encode_id(play.item_id)
                arguments += [keys.plays_user(play.user_id), user, item, repr(play.plays)]
            self._add(keys=[keys.plays_added(task_id), keys.PLAYS_USERS], args=arguments)
        self.forgotten.keep_out(users)

    def load(self, user_ids: Sequence[Id]) -> UserOverlay:
        """Plays and blocks of ``user_ids``, in as few round trips as can be."""
        ask_plays = ask_blocks = True
        if len(user_ids) > ASK_EACH_UP_TO:
            with self.redis.pipeline(transaction=False) as pipeline:
                pipeline.exists(*(keys.plays_user(user_id) for user_id in user_ids))
                pipeline.exists(*(keys.blocks_user(user_id) for user_id in user_ids))
                ask_plays, ask_blocks = pipeline.execute()
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.smembers(keys.BLOCKS_ITEMS)
            if ask_plays:
                for user_id in user_ids:
                    pipeline.hgetall(keys.plays_user(user_id))
            if ask_blocks:
                for user_id in user_ids:
                    pipeline.smembers(keys.blocks_user(user_id))
            blocked_items, *replies = pipeline.execute()
        plays = replies[: len(user_ids)] if ask_plays else []
        blocks = replies[len(plays) :]
        return UserOverlay(
            {place: {decode_id(i): float(n) for i, n in reply.items()} for place, reply in enumerate(plays) if reply},
            {place: [decode_id(i) for i in reply] for place, reply in enumerate(blocks) if reply},
            [decode_id(item) for item in blocked_items],
        )

    def blocked_items(self) -> list[Id]:
        """What nobody must get."""
        return [decode_id(item) for item in self.redis.smembers(keys.BLOCKS_ITEMS)]

    def users(self) -> list[Id]:
        """Ids of all users with new plays."""
        return [decode_id(member) for member in self.redis.smembers(keys.PLAYS_USERS)]

    def drop_seen(self, served: ServedModel) -> int:
        """Drop the plays that ``served`` was trained with: of items that its data set has this user play.

        A play that was added meanwhile stays. Gives the number of (user, item) pairs that were dropped.
        """
        dropped = 0
        users = self.users()
        for start in range(0, len(users), 1_000):
            block = users[start : start + 1_000]
            codes = served.user_ids.codes(block)
            with self.redis.pipeline(transaction=False) as pipeline:
                for user_id in block:
                    pipeline.hgetall(keys.plays_user(user_id))
                replies = pipeline.execute()
            for user_id, code, reply in zip(block, codes.tolist(), replies, strict=True):
                items = list(reply)
                known = served.item_ids.codes([decode_id(item) for item in items])
                row = slice(served.seen.indptr[code], served.seen.indptr[code + 1]) if code >= 0 else slice(0, 0)
                seen = served.seen.indices[row]
                arguments = [encode_id(user_id)]
                for item, trained in zip(items, np.isin(known, seen).tolist(), strict=True):
                    arguments += [text(item), text(reply[item])] if trained else []
                if len(arguments) > 1 or not items:
                    dropped += int(self._drop(keys=[keys.plays_user(user_id), keys.PLAYS_USERS], args=arguments))
        if dropped:
            logger.info("plays are in the model now", version=served.version, pairs=dropped)
        return dropped
