"""Numbers and names as people read them: ages, counts, metrics, verdicts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["FILTERS", "METRICS", "ago", "verdict_words"]

METRICS: Final = {
    "recall": "Share of a user's held-out items that are in their list",
    "ndcg": "The same, with more weight at the top of the list",
    "map": "Mean precision at each hit",
    "mrr": "One over the place of the first hit",
    "precision": "Share of a list that is a hit",
    "hit_rate": "Share of users with a hit at all",
    "coverage": "Share of the items that are in any list",
    "novelty": "How little known the listed items are, in bits",
}
_OUTCOMES: Final = {
    "first": "There was no model before it.",
    "not worse": "It is not worse than the model that was live.",
    "worse": "It is measurably worse than the model that was live.",
    "not compared": "It could not be compared with the model that was live.",
}


def ago(seconds: float | None) -> str:
    """``3 min``, ``2 days``."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "min"), (1, "s")):
        if seconds >= size:
            n = int(seconds // size)
            return f"{n:,} {unit}" + ("s" if n != 1 and unit in ("day", "hour") else "")
    return "0 s"


def since(moment: Any) -> str:
    """How long ago an ISO 8601 moment, or seconds since 1970, was; a dash where it is neither."""
    try:
        at = float(moment) if isinstance(moment, int | float) else datetime.fromisoformat(moment).timestamp()
    except (TypeError, ValueError):
        return "–"
    return f"{ago(max(0.0, time.time() - at))} ago"


def moment(value: Any) -> str:
    """A moment as ``2026-03-01 12:00 UTC``."""
    try:
        at = datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return "–"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(value: Any) -> str:
    """``1,892``; a dash for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def metric(value: Any) -> str:
    """Four digits; a dash for what is no number."""
    return "–" if isinstance(value, bool) or not isinstance(value, int | float) else f"{value:.4g}"


def percent(value: Any) -> str:
    """``12.3 %``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:.1%}".replace("%", "\u00a0%") if abs(value) >= 0.001 or value == 0 else f"{value * 100:.3g}\u00a0%"


def size(n_bytes: Any) -> str:
    """``12.3 MB``."""
    if isinstance(n_bytes, bool) or not isinstance(n_bytes, int | float):
        return "–"
    value = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def verdict_words(record: Mapping[str, Any]) -> str:
    """What the gate said of a version, in a sentence; empty where it said nothing."""
    verdict = record.get("verdict")
    if not isinstance(verdict, dict) or not verdict.get("outcome"):
        return ""
    said = _OUTCOMES.get(str(verdict["outcome"]), f"{verdict['outcome']}.")
    values = [verdict.get(name) for name in ("candidate", "live", "n_users")]
    if all(isinstance(value, int | float) for value in values):
        candidate, live, n_users = values
        against = verdict.get("against") or "it"
        return (
            f"{said} NDCG@20 {candidate:.4f} against {live:.4f} of {against}, on what {n_users:,} users had held out."
        )
    reason = str(verdict.get("reason") or "")
    return said if not reason or reason == "the first model" else f"{said} {reason[:1].upper()}{reason[1:]}."


FILTERS: Final = {
    "ago": ago,
    "since": since,
    "moment": moment,
    "count": count,
    "metric": metric,
    "percent": percent,
    "size": size,
    "verdict": verdict_words,
}
