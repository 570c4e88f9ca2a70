"""PlayArchive: from the stream in Redis into the history's table, each play once, whoever dies in between.

The table is written first, in a commit that names the last entry it holds; then the stream is cut up to where the table
says that it is. What a worker leaves undone, the next one finds in the table.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.history.play_rows import RecordedPlay, as_rows
from timbral.history.table import STREAM, HistoryTable
from timbral.history.watermark import entry_after, number_of
from timbral.lists.forgotten import Forgotten
from timbral.redis_server.replies import text

__all__ = ["Archived", "PlayArchive"]

logger = structlog.get_logger(__name__)

ENTRIES_PER_READ: Final = 500
PLAYS_PER_COMMIT: Final = 250_000
LOCK_S: Final = 30  # it only saves work: of two at once, one commits
TIDY_EVERY_S: Final = 3600

CUT = """
-- KEYS: stream, how far the history is. ARGV: the first id to keep, then fields and values. An older state does not
-- replace a newer one.
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
local known = tonumber(redis.call('HGET', KEYS[2], 'total') or '0')
if tonumber(ARGV[3]) >= known then redis.call('HSET', KEYS[2], unpack(ARGV, 2)) end
"""

GO_ON_BEHIND = """
-- KEYS: stream. ARGV: milliseconds and sequence of how far the table is. A stream that has never got so far is another
-- one than the table's: Redis has lost its data, and its clock is behind. Its entries get ids behind the table's last.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local told, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
for place = 1, #told, 2 do
  if told[place] == 'last-generated-id' then last = told[place + 1] end
end
local ms, sequence = string.match(last, '^(%d+)-(%d+)$')
ms, sequence = tonumber(ms), tonumber(sequence)
if ms > tonumber(ARGV[1]) or (ms == tonumber(ARGV[1]) and sequence >= tonumber(ARGV[2])) then return 0 end
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
for place, entry in ipairs(entries) do
  redis.call('XADD', KEYS[1], ARGV[1] .. '-' .. string.format('%d', ARGV[2] + place), unpack(entry[2]))
  redis.call('XDEL', KEYS[1], entry[1])
end
return #entries
"""

UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Archived(NamedTuple):
    """Plays moved now, and how far the table is."""

    plays: int
    watermark: str
    version: int | None


class PlayArchive:
    """Moves recorded plays into ``history``, and keeps the table in order."""

    def __init__(self, redis_client: redis.Redis, history: HistoryTable) -> None:
        self.redis = redis_client
        self.history = history
        self.forgotten = Forgotten(redis_client)
        self._cut = redis_client.register_script(CUT)
        self._go_on_behind = redis_client.register_script(GO_ON_BEHIND)

    def run(self) -> Archived:
        """Move everything that was recorded before the call.

        Raises:
            HistoryError: the table cannot be read or written; the plays stay in the stream.
        """
        n_new_ids = int(self._go_on_behind(keys=[keys.PLAYS_STREAM], args=self.history.watermark().split("-")))
        if n_new_ids:
            logger.warning("the stream is another one than the history's, and goes on behind it", entries=n_new_ids)
        last = self._last_entry()
        n_plays = 0
        while True:
            watermark = self.history.watermark()
            if number_of(watermark) >= number_of(last):
                break
            entries = self._entries(watermark, last)
            recorded = list(_plays_of(entries))
            users = list(dict.fromkeys(play.user_id for play in recorded))
            gone = self.forgotten.among(users)
            plays = [play for play in recorded if play.user_id not in gone] if gone else recorded
            if not entries:
                break
            # Another worker may have done the same meanwhile: then this one looks again how far the table is.
            reached = number_of(entries[-1][0])
            if self.history.append(as_rows(plays), STREAM, reached, after=number_of(watermark)):
                n_plays += len(plays)
                for user_id in self.forgotten.among(users) - gone:  # meanwhile, and the erasure may have looked before
                    self.history.delete_user(user_id)
                self._trim(entries[-1][0], int(entries[-1][1]))
        self.redis.xtrim(keys.PLAYS_STREAM, minid=entry_after(watermark), approximate=False)
        if n_plays:
            logger.info("archived", plays=n_plays, watermark=watermark)
        return Archived(n_plays, watermark, self.history.version())

    def run_alone(self) -> Archived | None:
        """``run`` and ``tidy``, unless another worker is at it."""
        token = uuid.uuid4().hex
        if not self.redis.set(keys.PLAYS_ARCHIVING, token, nx=True, ex=LOCK_S):
            return None
        try:
            archived = self.run()
            if self.redis.set(keys.PLAYS_TIDIED, 1, nx=True, ex=TIDY_EVERY_S):
                self.tidy()
            return archived
        finally:
            self.redis.eval(UNLOCK, 1, keys.PLAYS_ARCHIVING, token)

    def waiting(self) -> list[RecordedPlay]:
        """The plays that are in the stream, and not in the table."""
        return list(_plays_of(self._entries(self.history.watermark(), self._last_entry())))

    def tidy(self) -> None:
        """Compact small files, and delete those that nothing needs; what a kept model version was trained on stays
        readable."""
        n_compacted = self.history.compact()
        n_deleted = self.history.vacuum(self._versions_in_use())
        logger.info("history tidied", compacted=n_compacted, deleted=n_deleted)

    def _versions_in_use(self) -> Iterator[int]:
        versions = [text(version) for version in self.redis.zrange(keys.MODEL_VERSIONS, 0, -1)]
        records: Iterable[Any] = self.redis.mget([keys.model_metadata(one) for one in versions]) if versions else []
        for record in records:
            history = json.loads(text(record) or "{}").get("history")
            if history:
                yield int(history["version"])

    def _last_entry(self) -> str:
        newest: Any = self.redis.xrevrange(keys.PLAYS_STREAM, count=1)
        return text(newest[0][0]) if newest else "0-0"

    def _entries(self, after: str, last: str) -> list[tuple[str, str, list[Any]]]:
        """Entries of at most ``PLAYS_PER_COMMIT`` plays or a few more: id, plays recorded with it, and the plays."""
        found: list[tuple[str, str, list[Any]]] = []
        n_plays = 0
        while n_plays < PLAYS_PER_COMMIT:
            start = entry_after(found[-1][0] if found else after)
            read: Any = self.redis.xrange(keys.PLAYS_STREAM, start, last, count=ENTRIES_PER_READ)
            for entry_id, fields in read:
                named = {text(name): value for name, value in fields.items()}
                found.append((text(entry_id), text(named["total"]), json.loads(named["plays"])))
                n_plays += len(found[-1][2])
            if len(read) < ENTRIES_PER_READ:
                break
        return found

    def _trim(self, entry_id: str, total: int) -> None:
        state: list[str | int] = [
            "total",
            total,
            "entry",
            entry_id,
            "version",
            self.history.version() or 0,
            "at",
            f"{time.time():.3f}",
        ]
        self._cut(keys=[keys.PLAYS_STREAM, keys.PLAYS_ARCHIVED], args=[entry_after(entry_id), *state])


def _plays_of(entries: Iterable[tuple[str, str, list[Any]]]) -> Iterator[RecordedPlay]:
    for entry_id, _, plays in entries:
        recorded_at_us = int(entry_id.partition("-")[0]) * 1_000
        for user_id, item_id, n_plays, at_us in plays:
            yield RecordedPlay(user_id, item_id, n_plays, at_us, recorded_at_us)
