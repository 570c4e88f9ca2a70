"""PlayArchive: from the stream in Redis into the history's table, each play once, whoever dies in between.

The table is written first, in a commit that names the last entry it holds; then the stream is cut up to where the table
says that it is. What a worker leaves undone, the next one finds in the table.

A Redis that comes back from a failover or a backup is some way behind the table, or is another one altogether, with a
clock of its own. So an entry is never taken for moved because of its id alone: the table is asked for its plays.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.errors import HistoryError
from timbral.history.play_rows import RecordedPlay, as_rows
from timbral.history.play_stream import PlayStream, StreamEntry
from timbral.history.table import STREAM, HistoryTable
from timbral.history.watermark import NOTHING, number_of
from timbral.lists.forgotten import Forgotten
from timbral.redis_server.replies import text

__all__ = ["Archived", "PlayArchive"]

logger = structlog.get_logger(__name__)

LOCK_S: Final = 30  # it only saves work: of two at once, one commits
TIDY_EVERY_S: Final = 3600

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
        self.stream = PlayStream(redis_client)

    def run(self) -> Archived:
        """Move everything that was recorded before the call.

        Raises:
            HistoryError: the table cannot be read or written, or lacks what was moved into it before; the plays stay in
                the stream.
        """
        known = self.stream.archived()  # before the watermark, which is further if anything
        watermark = self.history.watermark()
        self._check_is_the_same(known, watermark)
        self._settle(watermark)
        last = self.stream.last_entry()
        n_plays = 0
        while number_of(watermark) < number_of(last):
            entries = self.stream.part(watermark, last)
            if not entries:
                break
            recorded = [play for entry in entries for play in entry.plays]
            users = list(dict.fromkeys(play.user_id for play in recorded))
            gone = self.forgotten.among(users)
            plays = [play for play in recorded if play.user_id not in gone] if gone else recorded
            # Another worker may have done the same meanwhile: then this one looks again how far the table is.
            if self.history.append(as_rows(plays), STREAM, number_of(entries[-1].id), after=number_of(watermark)):
                n_plays += len(plays)
                for user_id in self.forgotten.among(users) - gone:  # meanwhile, and the erasure may have looked before
                    self.history.delete_user(user_id)
                self.stream.cut(entries[-1], self.history.version() or 0, time.time())
            watermark = self.history.watermark()
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
        """The plays that are in the stream, and not in the table.

        Raises:
            HistoryError: the table cannot be read, or lacks what was moved into it before.
        """
        self._check_is_the_same(self.stream.archived(), self.history.watermark())
        entries = self.stream.part(self.history.watermark(), self.stream.last_entry())
        return [play for entry in entries for play in entry.plays]

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

    def _check_is_the_same(self, known: str, watermark: str) -> None:
        """Whether the table has what Redis knows to have been moved into it, up to the entry ``known``.

        Raises:
            HistoryError: it has not, or is not there: a volume that is not mounted, a folder that is another host's.
        """
        if number_of(watermark) >= number_of(known):
            return
        there = "there is no table" if watermark == NOTHING else f"this table has plays up to {_moment(watermark)}"
        raise HistoryError(
            self.history.uri,
            f"{there}, and plays up to {_moment(known)} were moved into it: is HISTORY_URI the same for all workers, "
            f"and its volume mounted? To go on without those plays, delete the key {keys.PLAYS_ARCHIVED}",
        )

    def _settle(self, watermark: str) -> None:
        """Take what the table has out of the stream, and put what it has not behind the watermark.

        The first is what a worker has left that was killed, or a Redis that has lost its last writes; the second was
        recorded by a Redis whose clock is behind that of the one before.
        """
        self.stream.go_on_behind(watermark)
        while entries := self.stream.part(NOTHING, watermark):
            missing = [entry._replace(plays=plays) for entry, plays in self._missing(entries)]
            n_moved = self.stream.go_on_behind(watermark, missing)
            if n_moved:
                logger.warning("entries older than the history, and not in it, go behind it", entries=n_moved)

    def _missing(self, entries: list[StreamEntry]) -> Iterator[tuple[StreamEntry, list[RecordedPlay]]]:
        """Each entry with those of its plays that the table has not."""
        recorded_at = [play.recorded_at_us for entry in entries for play in entry.plays]
        there = Counter(self.history.recorded_between(min(recorded_at, default=0), max(recorded_at, default=0)))
        for entry in entries:
            missing = []
            for play in entry.plays:
                there[play] -= 1
                if there[play] < 0:
                    missing.append(play)
            yield entry, missing


def _moment(entry_id: str) -> str:
    return datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
