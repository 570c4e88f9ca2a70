"""What a user has played since the live model was trained, as Redis holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from timbral.plays.pending import PendingPlays

__all__ = ["new_plays_in"]


def new_plays_in(entries: Sequence[bytes | str]) -> dict[int | str, float]:
    """Plays of each item, added up; what is not one of our entries is left out: it is not ours to show."""
    counted: dict[int | str, float] = {}
    for entry in entries:
        try:
            (play,) = PendingPlays.read([entry]).plays
        except (ValueError, TypeError):
            continue
        _, item_id, plays, _ = play
        if type(item_id) in (int, str) and 0 < plays < math.inf:
            counted[item_id] = counted.get(item_id, 0.0) + plays
    return counted
