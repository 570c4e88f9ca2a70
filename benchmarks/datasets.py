"""Data sets with a structure that is known because it was put there: genres, skewed plays, tastes that drift.

A user has a mixture of a few genres, an artist belongs to one or two; popularity in a genre falls as a power of the
rank, and so does how much a user listens. Nothing here is tuned to a model: none is drawn from a low-rank product.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plays:
    """Interactions, one an entry, each (user, item) once, in no order: ``value`` is plays or a rating, ``time`` in [0,
    1)."""

    users: Ints
    items: Ints
    values: npt.NDArray[np.float32]
    times: Floats
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.users)

    def csr(self) -> sparse.csr_matrix:
        return self.csr_of(self.values)

    def csr_of(self, values: npt.NDArray[np.floating]) -> sparse.csr_matrix:
        """``values``, one for each interaction, in the places (and so in the order) of ``csr``."""
        made = sparse.csr_matrix((values, (self.users, self.items)), self.shape)
        made.sort_indices()
        return made


def listening(
    n_users: int,
    n_items: int,
    n_interactions: int,
    *,
    n_genres: int = 40,
    genres_per_user: float = 3.0,
    skew: float = 0.8,
    drift: float = 0.0,
    seed: int = 0,
) -> Plays:
    """Play counts. ``drift`` is the share of a user's taste that changes between the first and the last play."""
    rng = np.random.default_rng(seed)
    early, late = (_tastes(rng, n_users, n_genres, genres_per_user) for _ in range(2))
    activity = _power_law(rng, n_users, 0.6)
    genre_of, second_genre_of = rng.integers(0, n_genres, (2, n_items))
    appeal = _power_law(rng, n_items, skew)
    pairs, times = _draw(rng, n_interactions, activity, early, late, drift, genre_of, second_genre_of, appeal)
    users, items = pairs // n_items, pairs % n_items
    taste = (1 - drift * times) * early[users, genre_of[items]] + drift * times * late[users, genre_of[items]]
    plays = np.ceil(rng.lognormal(1.0 + 2.0 * taste, 1.2)).astype(np.float32)
    return Plays(users, items, plays, times, (n_users, n_items))


def ratings(n_users: int, n_items: int, n_interactions: int, *, n_genres: int = 18, seed: int = 0) -> Plays:
    """Ratings from 1 to 5 in whole stars: dense, half explained by taste, a fifth by the item's quality, with drift."""
    made = listening(
        n_users, n_items, n_interactions, n_genres=n_genres, genres_per_user=5.0, skew=0.7, drift=0.3, seed=seed
    )
    rng = np.random.default_rng(seed + 1)
    liking = _standard(np.log(made.values)) * 0.7 + rng.normal(size=n_items)[made.items] * 0.45
    stars = np.clip(np.rint(3.6 + liking + rng.normal(scale=0.55, size=len(made))), 1, 5).astype(np.float32)
    return Plays(made.users, made.items, stars, made.times, made.shape)


def lastfm(folder: str | os.PathLike[str] | None = None) -> Plays | None:
    """Last.fm 2K (HetRec 2011) from ``folder`` or ``$LASTFM``, or its file; None where neither names one. Its rows
    carry no time."""
    given = folder or os.environ.get("LASTFM")
    if not given:
        return None
    file = Path(given) / "user_artists.dat" if Path(given).is_dir() else Path(given)
    users, items, plays = np.loadtxt(file, np.int64, skiprows=1, unpack=True)
    _, users = np.unique(users, return_inverse=True)
    _, items = np.unique(items, return_inverse=True)
    shape = int(users.max()) + 1, int(items.max()) + 1
    return Plays(users, items, plays.astype(np.float32), np.zeros(len(users)), shape)


def _tastes(rng: np.random.Generator, n_users: int, n_genres: int, genres_per_user: float) -> Floats:
    popularity = _power_law(rng, n_genres, 0.5)
    weights = rng.gamma(genres_per_user * popularity, size=(n_users, n_genres)) + 1e-9
    return weights / weights.sum(1, keepdims=True)


def _power_law(rng: np.random.Generator, size: int, exponent: float) -> Floats:
    weights = (rng.permutation(size) + 1.0 + 0.001 * size) ** -exponent
    return weights / weights.sum()


def _draw(
    rng: np.random.Generator,
    wanted: int,
    activity: Floats,
    early: Floats,
    late: Floats,
    drift: float,
    genre_of: Ints,
    second_genre_of: Ints,
    appeal: Floats,
) -> tuple[Ints, Floats]:
    """``wanted`` different (user, item) pairs, as user · n_items + item, and a time for each."""
    n_items, n_genres = len(appeal), early.shape[1]
    cumulative = [np.cumsum(tastes, axis=1) for tastes in (early, late)]
    members, chances = [], []
    for genre in range(n_genres):
        weight = appeal * ((genre_of == genre) + 0.3 * (second_genre_of == genre) + 0.02)
        chosen = np.flatnonzero(weight > weight.max() * 1e-9)
        members.append(chosen)
        chances.append(np.cumsum(weight[chosen]) / weight[chosen].sum())
    pairs, times = np.empty(0, np.int64), np.empty(0)
    while len(pairs) < wanted:
        n_drawn = int((wanted - len(pairs)) * 1.5) + 1000
        users = np.searchsorted(np.cumsum(activity), rng.random(n_drawn) * (1 - 1e-12)).clip(max=len(activity) - 1)
        when = rng.random(n_drawn)
        is_late = rng.random(n_drawn) < drift * when
        genres = np.empty(n_drawn, np.int64)
        for part in range(0, n_drawn, 200_000):
            piece = slice(part, part + 200_000)
            taste = np.where(is_late[piece, None], cumulative[1][users[piece]], cumulative[0][users[piece]])
            genres[piece] = (taste < rng.random(len(taste))[:, None]).sum(1).clip(max=n_genres - 1)
        items = np.empty(n_drawn, np.int64)
        for genre in range(n_genres):
            here = np.flatnonzero(genres == genre)
            items[here] = members[genre][
                np.searchsorted(chances[genre], rng.random(len(here))).clip(max=len(members[genre]) - 1)
            ]
        pairs = np.concatenate([pairs, users * n_items + items])
        times = np.concatenate([times, when])
        pairs, first = np.unique(pairs, return_index=True)
        times = times[first]
    kept = rng.permutation(len(pairs))[:wanted]
    return pairs[kept], times[kept]


def _standard(values: npt.NDArray[np.float32]) -> Floats:
    values = values.astype(np.float64)
    return (values - values.mean()) / values.std()
