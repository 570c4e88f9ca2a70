"""What the live model knows of its items: how much each is played, how often it is listed, and what is like it.

The figures of a version do not change, so they are made once for each; how often items are listed is asked of a sample
of lists, anew each minute.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import redis

from timbral import keys
from timbral.messages import Id
from timbral.versions.served_model import ServedModel

__all__ = ["Exposure", "Figures", "exposure_of", "figures_of", "players_of"]

SAMPLED_USERS: Final = 1_000
FRESH_S: Final = 60.0
POINTS: Final = 300
SHOWN: Final = 10
_LOOKED_THROUGH: Final = 500_000
_TAIL_AT: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


class Figures(NamedTuple):
    """Of one version: ``tail`` is ``(share of the items, the most played first; share of the interactions they have)``,
    ``order`` the codes of the items, the most played first."""

    version: str
    n_users: int
    n_items: int
    n_interactions: int
    tail: list[tuple[float, float]]
    order: npt.NDArray[np.int64]


class Exposure(NamedTuple):
    """How often items are in the lists of ``n_lists`` users drawn at random.

    ``points``: ``(users who play it, lists that it is in, id)``; ``most``: ids listed most beyond their popularity,
    with both counts; ``never``: the most played items that are in none of the lists, with their users.
    """

    n_lists: int
    n_listed: int
    n_items: int
    points: list[tuple[int, int, Id]]
    most: list[tuple[Id, int, int]]
    never: list[tuple[Id, int]]
    counts: dict[Id, int]


_figures: dict[tuple[str, int], Figures] = {}
_exposures: dict[tuple[str, int], tuple[float, Exposure]] = {}


def figures_of(served: ServedModel) -> Figures:
    """The figures of a version; made with the first question."""
    key = (served.version, served.revision)
    known = _figures.get(key)
    if known is None:
        users = np.asarray(served.users_per_item)
        order = np.argsort(-users, kind="stable")
        added = np.cumsum(users[order])
        total = max(1, int(added[-1])) if len(added) else 1
        places = [max(1, round(share * len(users))) for share in _TAIL_AT] if len(users) else []
        tail = [(place / len(users), float(added[place - 1]) / total) for place in dict.fromkeys(places)]
        known = Figures(served.version, len(served.user_ids), len(users), int(served.model.n_interactions), tail, order)
        _figures.clear()
        _figures[key] = known
    return known


def exposure_of(served: ServedModel, client: redis.Redis) -> Exposure:
    """How often items are listed, a minute old at most."""
    key = (served.version, served.revision)
    made_at, known = _exposures.get(key, (float("-inf"), None))
    if known is None or time.monotonic() - made_at > FRESH_S:
        known = _look_at_lists(served, client)
        _exposures.clear()
        _exposures[key] = time.monotonic(), known
    return known


def _look_at_lists(served: ServedModel, client: redis.Redis) -> Exposure:
    figures = figures_of(served)
    rng = np.random.default_rng(0)
    n_users = figures.n_users
    drawn = rng.choice(n_users, SAMPLED_USERS, replace=False) if n_users > SAMPLED_USERS else np.arange(n_users)
    users = served.user_ids.ids(drawn)
    raw: Any = client.mget([keys.recommendations_user(user_id) for user_id in users]) if users else []
    counts: Counter[Id] = Counter()
    n_lists = 0
    for listed in map(_ids_in, raw):
        if listed is not None:
            n_lists += 1
            counts.update(listed)
    ids = list(counts)
    codes = served.item_ids.codes(ids) if ids else np.empty(0, np.int32)
    plays = {one: int(served.users_per_item[code]) for one, code in zip(ids, codes.tolist(), strict=True) if code >= 0}
    points = [(plays[one], n, one) for one, n in counts.most_common() if one in plays]
    most = sorted(points, key=lambda point: -point[1] / (point[0] + 5))[:SHOWN]
    if len(points) > POINTS:
        kept = rng.choice(np.arange(POINTS // 2, len(points)), POINTS - POINTS // 2, replace=False)
        shown = points[: POINTS // 2] + [points[place] for place in sorted(kept.tolist())]
    else:
        shown = points
    popular = served.item_ids.ids(figures.order[: SHOWN + len(counts)])
    never = [one for one in popular if one not in counts][:SHOWN] if n_lists else []
    never_codes = served.item_ids.codes(never) if never else np.empty(0, np.int32)
    return Exposure(
        n_lists,
        len(points),
        figures.n_items,
        shown,
        [(one, n_users, n) for n_users, n, one in most],
        [(one, int(served.users_per_item[code])) for one, code in zip(never, never_codes.tolist(), strict=True)],
        dict(counts),
    )


def _ids_in(raw: Any) -> list[Id] | None:
    try:
        return [item["item_id"] for item in json.loads(raw)] if raw is not None else None
    except (ValueError, TypeError, KeyError):
        return None


def players_of(served: ServedModel, code: int, limit: int) -> tuple[list[tuple[Id, float]], int]:
    """Some users who play an item, with their plays, and how many users were looked through for them."""
    seen = served.seen
    n_users = int(np.searchsorted(seen.indptr, _LOOKED_THROUGH, side="right")) - 1
    n_users = max(1, min(n_users, len(seen.indptr) - 1))
    end = int(seen.indptr[n_users])
    places = np.flatnonzero(seen.indices[:end] == code)
    most = places[np.argsort(-seen.data[places], kind="stable")[:limit]]
    users = np.searchsorted(seen.indptr, most, side="right") - 1
    return list(zip(served.user_ids.ids(users), seen.data[most].tolist(), strict=True)), n_users
