"""Two versions of the model side by side: their metrics with the errors of these, and how much their lists have in
common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from timbral.versions.served_model import ServedModel

__all__ = ["compare_lists", "compare_records", "compare_versions"]

MAX_USERS = 1_000
MAX_LOOKED_UP = 20_000
"""Users of the first version that are looked for in the second one; of more, so many are drawn."""


def compare_versions(
    first: ServedModel, second: ServedModel, *, top_k: int = 20, random_state: int = 0
) -> dict[str, Any]:
    """What to know before one of them replaces the other; plain values.

    Returns:
        ``metrics``: by name, the two values and their standard errors (None where there are none) and ``differs``:
            whether the two
        are further apart than two errors of their difference. ``same_rows``: whether they were measured on the same
        rows of the same data; where not, the metrics say more of the data than of the models. ``parameters``: those
        that are not equal, as used.
        ``overlap``: mean share of the ``top_k`` best unseen items of a user that both lists have, over ``n_users``
            users whom both
        know (None where there is none); ``same_first``: share of users with the same item in front.
    """
    lists = compare_lists(first, second, top_k=top_k, random_state=random_state)
    return {
        "versions": [first.version, second.version],
        **compare_records(first.record, second.record),
        **{name: lists[name] for name in ("overlap", "same_first", "n_users", "top_k")},
    }


def compare_records(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The part of ``compare_versions`` that the two records tell: ``metrics``, ``same_rows``, ``parameters``."""
    records = first, second
    return {
        "metrics": _metrics(*records),
        "same_rows": all(records[0].get(name) == records[1].get(name) for name in ("dataset_digest", "split")),
        "parameters": _differences(*(record.get("parameters", {}) | record.get("chosen", {}) for record in records)),
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


def compare_lists(
    first: ServedModel,
    second: ServedModel,
    *,
    top_k: int = 20,
    random_state: int = 0,
    n_users: int = MAX_USERS,
    n_shown: int = 0,
) -> dict[str, Any]:
    """The part of ``compare_versions`` that the lists tell, over ``n_users`` users whom both know at most.

    Returns:
        ``overlap``, ``same_first``, ``n_users``, ``top_k``; ``shown``: the lists of ``n_shown`` of these users,
        ``{"user_id": …, "lists": [[item_id, …], [item_id, …]]}``.
    """
    rng = np.random.default_rng(random_state)
    codes = np.arange(len(first.user_ids))
    if len(codes) > MAX_LOOKED_UP:
        codes = np.sort(rng.choice(codes, MAX_LOOKED_UP, replace=False))
    theirs = second.user_ids.codes(first.user_ids.ids(codes))
    codes, theirs = codes[theirs >= 0], theirs[theirs >= 0]
    if len(codes) > n_users:
        drawn = np.sort(rng.choice(len(codes), n_users, replace=False))
        codes, theirs = codes[drawn], theirs[drawn]
    found: dict[str, Any] = {"overlap": None, "same_first": None, "n_users": len(codes), "top_k": top_k, "shown": []}
    if not len(codes):
        return found
    tops = first.model.recommend(codes, top_k=top_k), second.model.recommend(theirs, top_k=top_k)
    listed = [served.item_ids.ids(top.item_indices) for served, top in zip((first, second), tops, strict=True)]
    shared, same = 0.0, 0
    for place, user_id in enumerate(first.user_ids.ids(codes)):
        mine, other = (
            items[int(top.indptr[place]) : int(top.indptr[place + 1])] for items, top in zip(listed, tops, strict=True)
        )
        shared += len(set(mine) & set(other)) / max(1, len(mine), len(other))
        same += mine[:1] == other[:1]
        if place < n_shown:
            found["shown"].append({"user_id": user_id, "lists": [mine, other]})
    return found | {"overlap": shared / len(codes), "same_first": same / len(codes)}
