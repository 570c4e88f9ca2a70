"""Begun: the note that a message's work is begun, for a script to make in the step that begins it."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["NOTE_BEGUN", "Begun"]

NOTE_BEGUN: Final = """
local function note_begun(key, tag, life_s)
  if redis.call('TYPE', key).ok ~= 'set' then redis.call('DEL', key) end
  redis.call('SADD', key, tag)
  redis.call('EXPIRE', key, life_s)
end
"""
"""Twice for one delivery counts once."""


class Begun(NamedTuple):
    """One delivery whose work begins: ``key`` has those of its task that were begun (``keys.deliveries``), for
    ``life_s`` seconds after the last one."""

    key: str
    tag: str
    life_s: int
