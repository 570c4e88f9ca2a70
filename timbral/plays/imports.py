"""The imports of files into the history: how the last ones went, and what became of their rows.

Whoever imports notes it, be it the command line or the console; the note is for people, and an import does without it
where Redis is away.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal

import redis
import structlog

from timbral import keys
from timbral.errors import TimbralError
from timbral.redis_server.replies import text, texts

__all__ = ["CUT_OFF_S", "Import", "ImportNotes", "read_import", "read_imports"]

logger = structlog.get_logger(__name__)

KEPT: Final = 20
LIFE_S: Final = 30 * 86_400
NOTE_EVERY_S: Final = 0.5
CUT_OFF_S: Final = 300.0
"""An import that has said nothing for so long, in seconds, has ended with its process; nothing of it was written."""
_MOST_CHARACTERS: Final = 1_000

Asking = Callable[[], AbstractContextManager[redis.Redis]]


@dataclass(frozen=True)
class Import:
    """One import, as it is or as it ended.

    Attributes:
        id: names it.
        file: what it was called.
        n_bytes: its size as it is stored.
        began_at, seen_at: seconds since 1970; ``seen_at`` is of the last note.
        state: running, done, or refused, of which nothing was written.
        step: "checked" or "written", while it runs.
        n_read: rows read so far; in the end, all rows of the file.
        n_written: rows in the history now that were not there before.
        left_out: how many rows were not written, by why.
        told: how the file was read, for a person.
        unread: columns that were not read.
        was_there: whether the same file was imported before, so that nothing had to be written.
        problem: why it was refused.
    """

    id: str
    file: str
    n_bytes: int
    began_at: float
    seen_at: float
    state: Literal["running", "done", "refused"] = "running"
    step: str = ""
    n_read: int = 0
    n_written: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    was_there: bool = False
    problem: str = ""

    @property
    def was_cut_off(self) -> bool:
        """Whether it runs by its note alone."""
        return self.state == "running" and time.time() - self.seen_at > CUT_OFF_S


class ImportNotes:
    """Notes of one import, from its begin to its end.

    Args:
        asking: the client of the Redis of the plays, for as long as one question.
        file: what the file is called.
        n_bytes: its size.
    """

    def __init__(self, asking: Asking, file: str, n_bytes: int) -> None:
        now = time.time()
        self._asking = asking
        self.current = Import(uuid.uuid4().hex, file[:_MOST_CHARACTERS], n_bytes, now, now)
        self._noted_at = 0.0
        self._has_begun = False

    def begin(self) -> None:
        """The first note, and the oldest ones away. Without it nothing is noted.

        Raises:
            RedisUnavailableError: Redis is away; whoever can do without the notes goes on.
        """
        with self._asking() as client:
            _write(client, self.current)
            self._has_begun = True
            old = [one.id for one in read_imports(client)[KEPT:]]
            if old:
                client.hdel(keys.PLAYS_IMPORTS, *old)

    def rows(self, step: str, n_rows: int) -> None:
        """How far it is; noted twice a second at most."""
        if time.monotonic() - self._noted_at >= NOTE_EVERY_S:
            self._noted_at = time.monotonic()
            self._note(step=step, n_read=n_rows)

    def done(self, **outcome: Any) -> None:
        """It is over, with what the fields of ``Import`` say of it."""
        self._note(state="done", step="", **outcome)

    def refused(self, problem: str) -> None:
        """It was refused, and nothing was written."""
        self._note(state="refused", step="", problem=problem[:_MOST_CHARACTERS])

    def _note(self, **changes: Any) -> None:
        if not self._has_begun:
            return
        self.current = replace(self.current, seen_at=time.time(), **changes)
        try:
            with self._asking() as client:
                _write(client, self.current)
        except TimbralError as error:
            logger.warning("an import goes on without its note", file=self.current.file, problem=str(error))


def read_imports(client: redis.Redis) -> list[Import]:
    """The last imports, the newest first."""
    kept: Any = client.hgetall(keys.PLAYS_IMPORTS)
    found = [one for one in map(_read, texts(kept).values()) if one is not None]
    return sorted(found, key=lambda one: -one.began_at)


def read_import(client: redis.Redis, import_id: str) -> Import | None:
    """One import; None where it is not known any more."""
    raw = text(client.hget(keys.PLAYS_IMPORTS, import_id))
    return _read(raw) if raw else None


def _write(client: redis.Redis, one: Import) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.PLAYS_IMPORTS, one.id, json.dumps(asdict(one)))
        pipe.expire(keys.PLAYS_IMPORTS, LIFE_S)
        pipe.execute()


def _read(raw: str) -> Import | None:
    try:
        record: Mapping[str, Any] = json.loads(raw)
        return Import(**{one.name: record[one.name] for one in fields(Import)})
    except (ValueError, TypeError, KeyError):
        return None
