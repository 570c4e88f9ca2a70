"""NameIndex: items by a part of their name, in this process' memory.

Redis has the names by id; looking through a million of them for a word would take seconds of it. They are read once, in
steps and in a thread, into one text that is searched in milliseconds.
"""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.errors import TimbralError
from timbral.messages import Id
from timbral.redis_server.replies import text

__all__ = ["Found", "NameIndex"]

logger = structlog.get_logger(__name__)

MAX_NAMES: Final = 2_000_000
MAX_CHARACTERS: Final = 200
FRESH_S: Final = 300.0
_STEP: Final = 2_000
_LOOKED_AT: Final = 20_000
"""Hits that one search looks at, at most."""


class Found(NamedTuple):
    """What a search found: ``(id, name)``; ``is_ready`` is False while the names are still being read, ``n_names`` of
    them so far."""

    items: list[tuple[Id, str]]
    is_ready: bool
    n_names: int


class _Names(NamedTuple):
    folded: bytes
    starts: array[int]
    members: list[str]


class NameIndex:
    """Names of items by a part of them.

    Args:
        asking: opens a client of the names' Redis.
    """

    def __init__(self, asking: Callable[[], AbstractContextManager[redis.Redis]]) -> None:
        self._asking = asking
        self._lock = threading.Lock()
        self._names: _Names | None = None
        self._read_at = float("-inf")
        self._reading: threading.Thread | None = None
        self._n_read = 0

    def search(self, part: str, limit: int) -> Found:
        """Items whose name has ``part`` in it, in whatever case; names that begin with it first.

        Raises:
            RedisUnavailableError: Redis is away, so that nobody waits for names that are not being read.
        """
        self._keep_fresh()
        names = self._names
        if names is None:
            with self._asking() as client:
                client.ping()
            return Found([], False, self._n_read)
        wanted = part.casefold().replace("\n", " ").encode("utf-8", "replace")
        found: dict[int, int] = {}
        at, n_hits = names.folded.find(wanted), 0
        while at >= 0 and n_hits < _LOOKED_AT and len(found) < limit * 20:
            row = bisect_right(names.starts, at) - 1
            found.setdefault(row, at - names.starts[row])
            n_hits += 1
            at = names.folded.find(wanted, names.starts[row + 1] if row + 1 < len(names.starts) else len(names.folded))
        rows = sorted(found, key=lambda row: (found[row] > 0, row))[:limit]
        members = [names.members[row] for row in rows]
        with self._asking() as client:
            raw: Any = client.hmget(keys.ITEMS_NAMES, members) if members else []
        items = [(keys.decode_id(one), text(name)) for one, name in zip(members, raw, strict=True) if name is not None]
        return Found(items, True, len(names.members))

    def _keep_fresh(self) -> None:
        with self._lock:
            is_fresh = self._names is not None and time.monotonic() - self._read_at < FRESH_S
            if is_fresh or (self._reading is not None and self._reading.is_alive()):
                return
            self._reading = threading.Thread(target=self._read, name="names", daemon=True)
            self._reading.start()

    def _read(self) -> None:
        parts: list[bytes] = []
        starts, members, size, cursor = array("Q"), [], 0, 0
        try:
            with self._asking() as client:
                while True:
                    reply: Any = client.hscan(keys.ITEMS_NAMES, cursor, count=_STEP)
                    cursor, found = reply
                    for member, name in found.items():
                        folded = text(name)[:MAX_CHARACTERS].casefold().replace("\n", " ").encode("utf-8", "replace")
                        parts.append(folded)
                        starts.append(size)
                        members.append(text(member))
                        size += len(folded) + 1
                    self._n_read = len(members)
                    if cursor == 0 or len(members) >= MAX_NAMES:
                        break
        except (TimbralError, UnicodeDecodeError) as error:
            logger.warning("cannot read the names of the items", problem=str(error))
            return
        self._names = _Names(b"\n".join(parts), starts, members)
        self._read_at = time.monotonic()
