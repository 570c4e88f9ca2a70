"""Model versions for the screens, a page of them at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis

from timbral import keys
from timbral.console.paging import Page, page_of
from timbral.console.plots import Series
from timbral.errors import ModelNotFoundError
from timbral.redis_server.replies import text

__all__ = ["PLOTTED", "Versions", "loss_series", "metric_series", "read_version", "read_versions"]

PER_PAGE = 20
PLOTTED = 40
"""Versions in a report's plot of metrics, from the newest on; a page plots those that it lists."""
IN_PLOT = ("ndcg@20", "recall@20")

Record = dict[str, Any]


class Versions(NamedTuple):
    """A page of records, the newest training first, and what belongs to it."""

    page: Page
    records: list[Record]
    current: str
    back_to: str
    """What a roll back would make live; empty where there is nothing."""


def read_versions(client: redis.Redis, asked_page: str | None = None, n_more: int = 0) -> Versions:
    """A page of versions; ``n_more`` records beyond its end, for a plot."""
    with client.pipeline(transaction=False) as pipe:
        pipe.get(keys.MODEL_CURRENT)
        pipe.zcard(keys.MODEL_VERSIONS)
        pipe.lrange(keys.MODEL_HISTORY, 0, 19)
        current, total, history = pipe.execute()
    page = page_of(asked_page, PER_PAGE, total)
    listed = client.zrevrange(keys.MODEL_VERSIONS, page.first, page.first + max(PER_PAGE, n_more) - 1)
    versions = [text(version) for version in listed]
    return Versions(page, _records(client, versions, text(current)), text(current), _back_to(client, current, history))


def _back_to(client: redis.Redis, current: Any, history: Sequence[Any]) -> str:
    before = [version for version in dict.fromkeys(history) if version != current]
    if not before:
        return ""
    known: Any = client.zmscore(keys.MODEL_VERSIONS, before)
    return next((text(version) for version, fence in zip(before, known, strict=True) if fence is not None), "")


def read_version(client: redis.Redis, version: str) -> Record:
    """One version's record, with ``version`` and ``live``.

    Raises:
        ModelNotFoundError: there is no such version.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.get(keys.MODEL_CURRENT)
        pipe.zscore(keys.MODEL_VERSIONS, version)
        current, fence = pipe.execute()
    if fence is None:
        raise ModelNotFoundError(version)
    return _records(client, [version], text(current))[0]


def _records(client: redis.Redis, versions: Sequence[str], current: str) -> list[Record]:
    if not versions:
        return []
    raw = client.mget([keys.model_metadata(version) for version in versions])
    return [
        complete(record) | {"version": version, "live": version == current}
        for version, record in zip(versions, map(_object, raw), strict=True)
    ]


def complete(record: Mapping[str, Any]) -> Record:
    """The record with each part that a screen reads, be it empty: what wrote it may have been of another version."""
    whole = dict(record)
    for name in ("metrics", "errors", "baseline", "durations_s", "data", "parameters", "chosen", "arguments"):
        whole[name] = whole[name] if isinstance(whole.get(name), dict) else {}
    for name in ("n_users", "n_items", "n_interactions", "n_components", "iterations", "loss", "created_at", "dataset"):
        whole.setdefault(name, None)
    return whole


def metric_series(records: Sequence[Record]) -> list[Series]:
    """NDCG and recall over versions, the oldest first, and the NDCG of popularity on the same rows."""
    oldest_first = [record for record in reversed(records) if record["metrics"]]
    labels = [str(record["version"]) for record in oldest_first]
    series = [
        _series(name.upper() if name.startswith("ndcg") else name.capitalize(), oldest_first, "metrics", name, labels)
        for name in IN_PLOT
    ]
    return [*series, _series("NDCG of popularity", oldest_first, "baseline", IN_PLOT[0], labels)]


def _series(title: str, records: Sequence[Record], part: str, name: str, labels: list[str]) -> Series:
    values = [(place, record[part].get(name)) for place, record in enumerate(records, 1)]
    kept = [(float(place), float(value)) for place, value in values if isinstance(value, int | float)]
    return Series(title, kept, [labels[int(place) - 1] for place, _ in kept])


def loss_series(record: Mapping[str, Any]) -> list[Series]:
    """The loss after each sweep of the training."""
    losses = record.get("loss_per_iteration")
    points = [
        (float(sweep), float(loss))
        for sweep, loss in enumerate(losses if isinstance(losses, list) else [], 1)
        if isinstance(loss, int | float)
    ]
    return [Series("Loss", points, [f"sweep {sweep:.0f}" for sweep, _ in points])]


def _object(raw: Any) -> Record:
    try:
        record = json.loads(text(raw) or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
