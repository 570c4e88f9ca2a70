"""A listening history with a known right answer: listeners of a genre play that genre's artists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_GENRES = 4
ITEMS_PER_GENRE = 20


def history(
    n_users: int = 120, plays_each: int = 10, seed: int = 1, *, text_ids: bool = False
) -> list[tuple[object, object, int]]:
    """(user, item, plays) rows; listener u likes genre u % 4, whose artists are 100 * genre to 100 * genre + 19."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[object, object, int]] = []
    for user in range(n_users):
        genre = user % N_GENRES
        for item in rng.choice(ITEMS_PER_GENRE, plays_each, replace=False):
            identity = 1000 + user, 100 * genre + int(item)
            plays = int(rng.integers(1, 50))
            rows.append((f"u{identity[0]}", f"i{identity[1]}", plays) if text_ids else (*identity, plays))
    return rows


def write_history(path: Path, rows: list[tuple[object, object, int]]) -> Path:
    """The rows as a csv file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["user_id,item_id,rating", *(f"{user},{item},{plays}" for user, item, plays in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
