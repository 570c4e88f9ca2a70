"""What the kernels of ``timbral.models.search.top_k`` share of their parameters, in their order.

Each ``…_indptr`` is that of sparse rows: what belongs to row n stands from ``indptr[n]`` up to ``indptr[n + 1]``.
"""

from __future__ import annotations

from typing import Final

from numba import float32, float64, int32, int64, types, uint8

from timbral.models.kernels.kernel import matrix, vector

__all__ = [
    "FACTORS",
    "INDEX_BLOCKS",
    "INDEX_CODES",
    "LISTS",
    "NEIGHBORS",
    "OUT",
    "RECENCY",
    "RULED_OUT",
    "SCRATCH",
    "USERS",
]

Parameters = dict[str, types.Type]

INDEX_BLOCKS: Final = types.Array(float32, 3, "C", readonly=True)
INDEX_CODES: Final = types.Array(uint8, 3, "C", readonly=True)
"""Of ItemIndex's arrays."""

USERS: Final[Parameters] = {
    "user_factors": matrix(float32),  # (n_users, k): a list each
}
RECENCY: Final[Parameters] = {
    "recency": vector(float32),  # (n_items,): r, or of no elements where it is 0
}
FACTORS: Final[Parameters] = {
    **USERS,
    "item_rows": matrix(float32),  # (n_items, k): the items' factors
    **RECENCY,
}
LISTS: Final[Parameters] = {
    "start": int64,  # first list to make
    "stop": int64,  # the list behind the last
}
NEIGHBORS: Final[Parameters] = {
    "play_indptr": vector(int64),  # (n_users + 1,)
    "plays": vector(int32),  # (n_plays,): what the users have played
    "play_counts": vector(float32),  # (n_plays,): x, how much each counts; or of no elements where all count 1
    "pair_indptr": vector(int64),  # (n_items + 1,)
    "pair_items": vector(int32),  # (n_pairs,): Neighbors' items
    "pair_weights": vector(float32),  # (n_pairs,): v, its weights
}
RULED_OUT: Final[Parameters] = {
    "seen_indptr": vector(int64),  # (n_users + 1,)
    "seen": vector(int32),  # (n_seen,): what is not in a user's list, since it was seen
    "blocked_indptr": vector(int64),  # (n_users + 1,)
    "blocked": vector(int32),  # (n_blocked,): what else is not in it
    "barred": vector(uint8),  # (n_items,): not 0 where an item is in no list; or of no elements
    "marks": vector(int32, writable=True),  # (n_items,): EXCLUDED where an item is in no list, else scratch
}
SCRATCH: Final[Parameters] = {
    "sums": vector(float64, writable=True),  # (n_items,): all 0, before and after
    "touched": vector(int32, writable=True),  # (n_items + 1,): the last place is written to and never read
}
OUT: Final[Parameters] = {
    "out_items": matrix(int32, writable=True),  # (n_users, the longest list)
    "out_scores": matrix(float32, writable=True),  # (n_users, the longest list)
    "out_lengths": vector(int64, writable=True),  # (n_users,)
}
