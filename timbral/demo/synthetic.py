"""A listening history made up for the demo: named artists, genres, users with tastes, skewed play counts.

Good recommendations are recognisable in it: they are of the user's genres.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from timbral.errors import ParameterError

__all__ = ["ListeningHistory", "make_listening_history"]

GENRES: Final = (
    "ambient", "blues", "country", "dream pop", "dub", "folk", "funk", "hip hop", "house", "indie rock", "jazz",
    "latin",
    "metal", "post-punk", "soul", "synth-pop", "techno", "trip hop",
)  # fmt: skip

FIRST_WORDS: Final = (
    "Amber", "Autumn", "Backyard", "Blue", "Borrowed", "Broken", "Cardinal", "Copper", "Crooked", "Distant", "Double",
    "Dusty",
    "Electric", "Evening", "Faded", "Fallen", "Feral", "Foreign", "Gentle", "Glass", "Golden", "Hidden", "Hollow",
    "Idle",
    "Indigo", "Inland", "Iron", "Late", "Little", "Lost", "Lunar", "Marble", "Midnight", "Minor", "Modern",
    "Northern", "Open",
    "Pale", "Paper", "Patient", "Polar", "Private", "Quiet", "Red", "Restless", "Running", "Rural", "Salt", "Second",
    "Secret",
    "Silver", "Sleeping", "Slow", "Southern", "Spare", "Static", "Summer", "Tender", "Thin", "Third", "Tidal", "Velvet",
    "Wandering", "Western", "Wild", "Winter", "Wooden", "Yellow",
)  # fmt: skip

SECOND_WORDS: Final = (
    "Almanac", "Animals", "Antenna", "Archive", "Atlas", "Avenue", "Balloons", "Bridges", "Cabinet", "Canyon",
    "Carousel",
    "Cathedral", "Chairs", "Circuit", "Coast", "Committee", "Compass", "Corridor", "Daylight", "Departures",
    "Dialect", "Engine",
    "Estate", "Ferry", "Foxes", "Frequencies", "Garden", "Harbour", "Hotel", "Hours", "Islands", "Kitchen", "Ladder",
    "Lanterns",
    "Letters", "Library", "Lions", "Machines", "Meadow", "Mirrors", "Monument", "Motel", "Museum", "Neighbours",
    "Observatory",
    "Orchard", "Orchestra", "Palace", "Parade", "Passengers", "Pilots", "Planets", "Postcards", "Radio", "Rivers",
    "Satellite",
    "Shadows", "Signals", "Sisters", "Stations", "Strangers", "Tigers", "Tourists", "Weather", "Windows", "Wolves",
)  # fmt: skip

SCENES_PER_GENRE: Final = 3
ROWS_PER_BLOCK: Final = 512


@dataclass(frozen=True)
class ListeningHistory:
    """One entry of the three arrays for each user and artist that they played.

    Attributes:
        user_ids: int64 (n_rows,), from 0.
        item_ids: int64 (n_rows,), the artists, from 0.
        plays: int64 (n_rows,), 1 or more.
        artist_names: artist_names[item_id].
        artist_genres: artist_genres[item_id].
        user_genres: user_genres[user_id], the genres that the user likes, favourite first.
    """

    user_ids: npt.NDArray[np.int64]
    item_ids: npt.NDArray[np.int64]
    plays: npt.NDArray[np.int64]
    artist_names: list[str]
    artist_genres: list[str]
    user_genres: list[list[str]]

    def __len__(self) -> int:
        return len(self.plays)

    def write_csv(self, filepath: str | os.PathLike[str]) -> None:
        """Columns ``user_id``, ``item_id``, ``plays``."""
        table = pa.table({"user_id": self.user_ids, "item_id": self.item_ids, "plays": self.plays})
        arrow_csv.write_csv(table, os.fspath(filepath))


def make_listening_history(
    n_users: int = 3_000,
    n_items: int = 2_000,
    n_genres: int = 12,
    random_state: int = 42,
    *,
    artists_per_user: int = 60,
) -> ListeningHistory:
    """Make a history up; the same arguments give the same history.

    Artists belong to a genre and, within it, to one of a few scenes; in each genre a few are known to many (Zipf).
    Users like one to three genres, in each of them one scene most, and now and then play something else. How many
    artists they know, and how often they play them, is log-normal; they play more of what they like better.

    Args:
        n_users, n_items, n_genres: how many users, artists and genres (at most 18).
        artists_per_user: about how many artists a user has played (median).

    Raises:
        ParameterError: a number is below 1, or there are fewer artists than genres or more genres than names for them.
    """
    for name, number in (("n_users", n_users), ("n_items", n_items), ("artists_per_user", artists_per_user)):
        if number < 1:
            raise ParameterError(f"{name} must be 1 or more, got {number}")
    if not 1 <= n_genres <= min(len(GENRES), n_items):
        raise ParameterError(f"n_genres must be in [1, {min(len(GENRES), n_items)}], got {n_genres}")
    rng = np.random.default_rng(random_state)
    genres = sorted(rng.choice(len(GENRES), size=n_genres, replace=False).tolist())

    genre_of = rng.permutation(np.arange(n_items) % n_genres)
    scene_of = rng.integers(SCENES_PER_GENRE, size=n_items)
    fame = _fame(genre_of, n_genres, rng)
    taste, favourites = _tastes(n_users, n_genres, rng)

    n_artists = np.clip(rng.lognormal(np.log(artists_per_user), 0.5, n_users), 3, max(1, n_items // 2)).astype(np.int64)
    n_artists = np.minimum(n_artists, n_items)
    users, items, plays = [], [], []
    for start in range(0, n_users, ROWS_PER_BLOCK):
        block = np.arange(start, min(start + ROWS_PER_BLOCK, n_users))
        liking = taste[block][:, genre_of, scene_of]
        # The largest of log-weight + Gumbel noise are a sample without replacement (Efraimidis & Spirakis).
        drawn = np.log(liking * fame, dtype=np.float32) - np.log(_waits(rng, liking.shape))
        most = int(n_artists[block].max())
        chosen = np.argpartition(-drawn, min(most, n_items - 1), axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(drawn, chosen, axis=1), axis=1)
        chosen = np.take_along_axis(chosen, order, axis=1)
        known = np.arange(most) < n_artists[block][:, None]
        likes = np.take_along_axis(liking, chosen, axis=1)[known]
        users.append(np.repeat(block, n_artists[block]))
        items.append(chosen[known])
        plays.append(np.ceil(rng.lognormal(2.3 + 0.5 * np.log(likes / likes.mean()), 1.4)).astype(np.int64))
    names = _names(n_items, rng)
    return ListeningHistory(
        user_ids=np.concatenate(users),
        item_ids=np.concatenate(items).astype(np.int64),
        plays=np.clip(np.concatenate(plays), 1, 100_000),
        artist_names=names,
        artist_genres=[GENRES[genres[genre]] for genre in genre_of],
        user_genres=[[GENRES[genres[genre]] for genre in liked] for liked in favourites],
    )


def _fame(genre_of: npt.NDArray[Any], n_genres: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """How likely an artist is to be known to somebody who likes them: Zipf within a genre."""
    fame = np.empty(len(genre_of), dtype=np.float32)
    for genre in range(n_genres):
        members = rng.permutation(np.flatnonzero(genre_of == genre))
        fame[members] = (np.arange(len(members)) + 2.0) ** -1.2
    return fame


def _tastes(n_users: int, n_genres: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], list[list[int]]]:
    """Liking of (user, genre, scene), and each user's genres, favourite first."""
    draw = (np.arange(n_genres) + 2.0) ** -1.2
    n_liked = np.minimum(rng.choice([1, 2, 3], size=n_users, p=[0.3, 0.45, 0.25]), n_genres)
    drawn = np.log(draw) - np.log(_waits(rng, (n_users, n_genres)))
    ranked = np.argsort(-drawn, axis=1)
    taste = np.full((n_users, n_genres, SCENES_PER_GENRE), 0.008, dtype=np.float32)
    rows = np.arange(n_users)
    for place, weight in enumerate((1.0, 0.6, 0.35)):
        liking = rows[n_liked > place]
        if not len(liking):
            continue
        genre = ranked[liking, place]
        taste[liking, genre] = 0.15 * weight
        taste[liking, genre, rng.integers(SCENES_PER_GENRE, size=len(liking))] = weight
    return taste, [row[:n].tolist() for row, n in zip(ranked, n_liked, strict=True)]


def _waits(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Exponential draws whose logarithm is finite."""
    drawn = rng.standard_exponential(shape, dtype=np.float32)
    return np.maximum(drawn, np.finfo(np.float32).tiny)


def _names(n_items: int, rng: np.random.Generator) -> list[str]:
    """Different names, all of two words; beyond what the words give, with a number."""
    n_pairs = len(FIRST_WORDS) * len(SECOND_WORDS)
    order = rng.permutation(n_pairs)
    names = []
    for index in range(n_items):
        first, second = divmod(int(order[index % n_pairs]), len(SECOND_WORDS))
        name = f"{FIRST_WORDS[first]} {SECOND_WORDS[second]}"
        names.append(name if index < n_pairs else f"{name} {index // n_pairs + 1}")
    return names
