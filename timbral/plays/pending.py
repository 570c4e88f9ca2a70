"""Plays of a user that the live model was not trained on, as Redis lists them, oldest first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from timbral.messages import Id
from timbral.redis_server.replies import text

__all__ = ["PendingPlays", "is_after"]


class PendingPlays(NamedTuple):
    """``plays`` are (id in the stream, item, plays, time in microseconds)."""

    plays: list[tuple[str, Id, float, int]]

    @classmethod
    def read(cls, entries: Sequence[str | bytes]) -> PendingPlays:
        """The elements of a ``plays:user:…`` list."""
        read = []
        for entry in entries:
            entry_id, _, listed = text(entry).partition(" ")
            item, plays, at_us = json.loads(listed)
            read.append((entry_id, item, float(plays), int(at_us)))
        return cls(read)

    @property
    def newest(self) -> str:
        """Id in the stream of the newest play."""
        return self.plays[-1][0]

    def by_item(self) -> dict[Id, float]:
        """Plays of each item, added up."""
        counted: dict[Id, float] = {}
        for _, item, plays, _ in self.plays:
            counted[item] = counted.get(item, 0.0) + plays
        return counted


def is_after(entry_id: str, other: str) -> bool:
    """Whether an entry came into the stream after another one."""
    return _order(entry_id) > _order(other)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
