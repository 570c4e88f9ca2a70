"""Overlay: what has happened since the training: new plays, and blocks. They lie over what the model knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis
import structlog

from timbral import keys
from timbral.config.settings import settings
from timbral.keys import decode_id, encode_id
from timbral.messages import MAX_IDS, Id, Play
from timbral.plays.pending import PendingPlays, is_after
from timbral.plays.recorder import PlayRecorder, Recorded
from timbral.plays.user_replies import UserReplies
from timbral.plays.weights import PlayWeights
from timbral.redis_server.replies import text
from timbral.versions.served_model import ServedModel

__all__ = ["Overlay", "UserOverlay"]

logger = structlog.get_logger(__name__)

ASK_EACH_UP_TO = 50
"""Up to this many users are asked one by one; for more, it is first asked whether any of them has something."""

DROP_TRAINED = """
-- KEYS: a user's plays, users with plays, what lists know of. ARGV: user, milliseconds and sequence of the
-- watermark, key of the user's list.
local dropped = 0
while true do
  local first = redis.call('LINDEX', KEYS[1], 0)
  if not first then break end
  local ms, seq = string.match(first, '^(%d+)-(%d+) ')
  ms, seq = tonumber(ms), tonumber(seq)
  if ms > tonumber(ARGV[2]) or (ms == tonumber(ARGV[2]) and seq > tonumber(ARGV[3])) then break end
  redis.call('LPOP', KEYS[1])
  dropped = dropped + 1
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[4])
end
return dropped
"""


@dataclass(frozen=True)
class UserOverlay:
    """Of some users: ``plays`` and ``blocks`` by the user's place in the question, and what is blocked for all.

    ``newest`` is the id in the stream of a user's newest play, also by place; ``unlisted`` are the items of those plays
    that no list of theirs knows of, one a play. ``salt`` is that of the forgotten users, "" where nobody was.
    """

    plays: dict[int, dict[Id, float]]
    blocks: dict[int, list[Id]]
    blocked_items: list[Id]
    newest: dict[int, str]
    unlisted: dict[int, list[Id]]
    salt: str


class Overlay:
    """The new plays and the blocks in Redis.

    Args:
        replies: of some users, just asked for: taken for the first answer about all of these.
    """

    def __init__(self, redis_client: redis.Redis, replies: UserReplies | None = None) -> None:
        self.redis = redis_client
        self._replies = replies
        self._recorder = PlayRecorder(redis_client)
        self._drop = redis_client.register_script(DROP_TRAINED)

    def add_plays(self, task_id: str, plays: Sequence[Play], *, refresh: bool = False) -> Recorded:
        """Record ``plays`` for a task, which refreshes the users itself; once, however often the task is delivered."""
        return self._recorder.record(plays, task_id, settings.RESULT_EXPIRES_S, refresh=refresh)

    def forget_task(self, task_id: str) -> None:
        """The task id is another task's from now on."""
        self._recorder.forget_call(task_id, settings.RESULT_EXPIRES_S, MAX_IDS)

    def load(self, user_ids: Sequence[Id], served: ServedModel | None = None) -> UserOverlay:
        """Plays and blocks of ``user_ids``, in as few round trips as can be.

        Plays that ``served`` was trained on are left out, and the others count as its training let them count.
        """
        replies, self._replies = self._replies, None
        if replies is None or list(replies.user_ids) != list(user_ids):
            replies = self._ask(user_ids)
        loaded = UserOverlay(
            {},
            {place: [decode_id(i) for i in reply] for place, reply in enumerate(replies.blocks) if reply},
            [decode_id(item) for item in replies.blocked_items],
            {},
            {},
            text(replies.salt),
        )
        weights = PlayWeights.of({} if served is None else served.record)
        for place, (listed, reply) in enumerate(zip(replies.listed, replies.plays, strict=True)):
            if reply:
                _add_pending(loaded, place, PendingPlays.read(reply), text(listed), weights)
        return loaded

    def _ask(self, user_ids: Sequence[Id]) -> UserReplies:
        ask_plays = ask_blocks = True
        if len(user_ids) > ASK_EACH_UP_TO:
            with self.redis.pipeline(transaction=False) as pipeline:
                pipeline.exists(*(keys.plays_user(user_id) for user_id in user_ids))
                pipeline.exists(*(keys.blocks_user(user_id) for user_id in user_ids))
                ask_plays, ask_blocks = pipeline.execute()
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.get(keys.FORGOTTEN_SALT)
            pipeline.smembers(keys.BLOCKS_ITEMS)
            if ask_plays:
                pipeline.hmget(keys.PLAYS_LISTED, [keys.recommendations_user(user_id) for user_id in user_ids])
                for user_id in user_ids:
                    pipeline.lrange(keys.plays_user(user_id), 0, -1)
            if ask_blocks:
                for user_id in user_ids:
                    pipeline.smembers(keys.blocks_user(user_id))
            salt, blocked_items, *replies = pipeline.execute()
        listed, plays = (replies[0], replies[1 : len(user_ids) + 1]) if ask_plays else ([], [])
        blocks = replies[len(user_ids) + 1 :] if ask_plays else replies
        return UserReplies(user_ids, salt, blocked_items, listed, plays, blocks)

    def blocked_items(self) -> list[Id]:
        """What nobody must get."""
        return [decode_id(item) for item in self.redis.smembers(keys.BLOCKS_ITEMS)]

    def users(self) -> list[Id]:
        """Ids of all users with new plays."""
        return [decode_id(member) for member in self.redis.smembers(keys.PLAYS_USERS)]

    def settle(self, user_ids: Sequence[Id], newest: Sequence[str], n_unknown: int) -> None:
        """Note that these users' plays have been looked at, though there is no list for them; ``n_unknown`` plays were
        of unknown items."""
        with self.redis.pipeline(transaction=False) as pipeline:
            if user_ids:
                listed = zip(user_ids, newest, strict=True)
                pipeline.hset(keys.PLAYS_LISTED, mapping={keys.recommendations_user(user): at for user, at in listed})
            if n_unknown:
                pipeline.hincrby(keys.PLAYS_COUNTS, "unknown_items", n_unknown)
            pipeline.execute()

    def drop_trained(self, watermark: str) -> int:
        """Drop the plays up to ``watermark``, an id in the stream: a model that has been trained on them is live.
        Returns how many."""
        dropped = 0
        milliseconds, _, sequence = watermark.partition("-")
        users = self.users()
        for start in range(0, len(users), 1_000):
            with self.redis.pipeline(transaction=False) as pipeline:
                for user_id in users[start : start + 1_000]:
                    known = [keys.plays_user(user_id), keys.PLAYS_USERS, keys.PLAYS_LISTED]
                    listed = keys.recommendations_user(user_id)
                    self._drop(keys=known, args=[encode_id(user_id), milliseconds, sequence, listed], client=pipeline)
                dropped += sum(int(reply) for reply in pipeline.execute())
        if dropped:
            logger.info("new plays learned", watermark=watermark, plays=dropped)
        return dropped


def _add_pending(loaded: UserOverlay, place: int, pending: PendingPlays, listed: str, weights: PlayWeights) -> None:
    loaded.newest[place] = pending.newest
    loaded.unlisted[place] = [item for entry, item, _, _ in pending.plays if not listed or is_after(entry, listed)]
    counted: dict[Id, float] = {}
    for entry, item, plays, at_us in pending.plays:
        if is_after(entry, weights.watermark):
            counted[item] = counted.get(item, 0.0) + plays * weights.weight(at_us)
    if counted:
        loaded.plays[place] = counted
