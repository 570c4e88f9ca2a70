"""What a play counts beside one that was played just before the training: the same in the training and in folding
in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["DAY_US", "LEAST_WEIGHT", "PlayWeights"]

DAY_US: Final = 86_400_000_000
LEAST_WEIGHT: Final = 2.0**-20
"""The oldest play still says that its item was played."""


class PlayWeights(NamedTuple):
    """Of the plays after ``watermark``, the ones up to ``newest_us`` count half for each ``half_life_days`` that they
    are older than it.

    What was played later counts 1: it lies over vectors that were made when ``newest_us`` was the newest.
    """

    watermark: str = "0-0"
    half_life_days: float | None = None
    newest_us: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> PlayWeights:
        """Those of a model version, by its record."""
        history = record.get("history") or {}
        return cls(history.get("watermark", "0-0"), history.get("half_life_days"), int(history.get("newest_us", 0)))

    def weight(self, at_us: int) -> float:
        """What a play of that moment counts."""
        if self.half_life_days is None or at_us >= self.newest_us:
            return 1.0
        return float(max(LEAST_WEIGHT, 2.0 ** -((self.newest_us - at_us) / (self.half_life_days * DAY_US))))
