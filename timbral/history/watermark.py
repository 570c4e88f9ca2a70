"""Watermark: how far a stream of plays is in the history, as a place in the stream and as the number that Delta
keeps."""

from __future__ import annotations

from typing import Final

__all__ = ["NOTHING", "entry_after", "number_of", "watermark_of"]

NOTHING: Final = "0-0"
"""The watermark of a history that has no play from the stream."""

SEQUENCE_BITS: Final = 20
"""Of a number's lowest bits, for the entries of one millisecond; the rest is the millisecond."""


def number_of(entry_id: str) -> int:
    """A stream's entry id, ``milliseconds-sequence``, as a number in the same order: what an application transaction
    holds."""
    milliseconds, _, sequence = entry_id.partition("-")
    return (int(milliseconds) << SEQUENCE_BITS) | int(sequence or 0)


def watermark_of(number: int) -> str:
    """The entry id of ``number_of``."""
    return f"{number >> SEQUENCE_BITS}-{number & ((1 << SEQUENCE_BITS) - 1)}"


def entry_after(entry_id: str) -> str:
    """The smallest id that comes after ``entry_id``."""
    return watermark_of(number_of(entry_id) + 1)
