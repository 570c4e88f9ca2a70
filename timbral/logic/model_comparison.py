"""Two versions of the model side by side: their metrics with the errors of these, and how much their lists have in
common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from timbral.versions.served_model import ServedModel

__all__ = ["compare_versions"]

MAX_USERS = 1_000


def compare_versions(
    first: ServedModel, second: ServedModel, *, top_k: int = 20, random_state: int = 0
) -> dict[str, Any]:
    """What to know before one of them replaces the other; plain values.

    Returns:
        ``metrics``: by name, the two values and their standard errors (None where there are none) and ``differs``:
            whether the two
        are further apart than two errors of their difference. ``same_rows``: whether they were measured on the same
        rows of the same
        data; where not, the metrics say more of the data than of the models. ``parameters``: those that are not equal,
        as used.
        ``overlap``: mean share of the ``top_k`` best unseen items of a user that both lists have, over ``n_users``
            users whom both
        know (None where there is none); ``same_first``: share of users with the same item in front.
    """
    records = first.record, second.record
    overlap, same_first, n_users = _overlap(first, second, top_k, random_state)
    return {
        "versions": [first.version, second.version],
        "metrics": _metrics(*records),
        "same_rows": all(records[0].get(name) == records[1].get(name) for name in ("dataset_digest", "split")),
        "parameters": _differences(*(record.get("parameters", {}) | record.get("chosen", {}) for record in records)),
        "overlap": overlap,
        "same_first": same_first,
        "n_users": n_users,
        "top_k": top_k,
    }


def _metrics(first: dict[str, Any], second: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for name in {**first.get("metrics", {}), **second.get("metrics", {})}:
        values = [record.get("metrics", {}).get(name) for record in (first, second)]
        errors = [record.get("errors", {}).get(name) for record in (first, second)]
        known = None not in values and None not in errors
        found[name] = {
            "values": values,
            "errors": errors,
            "differs": abs(values[0] - values[1]) > 2 * math.hypot(*errors) if known else None,
        }
    return found


def _differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    names = {**first, **second}
    return {name: [first.get(name), second.get(name)] for name in names if first.get(name) != second.get(name)}


def _overlap(
    first: ServedModel, second: ServedModel, top_k: int, random_state: int
) -> tuple[float | None, float | None, int]:
    users = first.user_ids.ids(range(len(first.user_ids)))
    theirs = second.user_ids.codes(users)
    common = np.flatnonzero(theirs >= 0)
    if len(common) > MAX_USERS:
        common = np.sort(np.random.default_rng(random_state).choice(common, MAX_USERS, replace=False))
    if not len(common):
        return None, None, 0
    tops = first.model.recommend(common, top_k=top_k), second.model.recommend(theirs[common], top_k=top_k)
    listed = [served.item_ids.ids(top.item_indices) for served, top in zip((first, second), tops, strict=True)]
    shared, same = 0.0, 0
    for place in range(len(common)):
        mine, other = (
            items[int(top.indptr[place]) : int(top.indptr[place + 1])] for items, top in zip(listed, tops, strict=True)
        )
        shared += len(set(mine) & set(other)) / max(1, len(mine), len(other))
        same += mine[:1] == other[:1]
    return shared / len(common), same / len(common), len(common)
