"""Items that neighbours may make good enough, held back until many are together, and looked at by their codes: a user's
in 64 places at a time, and those of many users in a group's codes while these are in the cache.

An item's codes take a quarter of the memory that its factors do, and of what may reach the threshold by its length,
little may by its codes.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numba import int64, uint64

from timbral.models.kernels.bits import lowest_bit
from timbral.models.kernels.byte_sums import codes_that_reach
from timbral.models.kernels.heap import offer
from timbral.models.kernels.vector_sum import WIDE
from timbral.models.search.item_index import BLOCK_ITEMS, GROUP_BLOCKS
from timbral.models.search.score import nearly, recency_of, score_of, threshold_of

__all__ = ["HELD", "WIDE_ITEMS", "offer_held"]

HELD: Final = 1 << 16
"""Items of all users that are held back at a time, where the catalogue has no more."""
WIDE_ITEMS: Final = WIDE * BLOCK_ITEMS
GROUP_ITEMS: Final = GROUP_BLOCKS * BLOCK_ITEMS

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def _by_group(places, n_groups):  # type: ignore[no-untyped-def]  # numba types it
    """The order that puts ``places`` of one group side by side, and leaves those of a group as they are."""
    ends, order = np.zeros(n_groups + 1, np.int64), np.empty(len(places), np.int32)
    for place in places:
        ends[place // GROUP_ITEMS + 1] += 1
    for group in range(n_groups):
        ends[group + 1] += ends[group]
    for number in range(len(places)):
        group = places[number] // GROUP_ITEMS
        order[ends[group]] = number
        ends[group] += 1
    return order


@_jit
def offer_held(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, codes, steps, item_of, user_codes, begins, bounds, start, places, users,
    neighbors, thresholds, out_items, out_scores, out_lengths,
):  # fmt: skip
    """Offer each user ``users[n]``, counted from ``start``, the item in ``places[n]``, for which neighbours say
    ``neighbors[n]``. A user's stand side by side; none is ruled out, and none in the user's list.

    ``user_codes``, ``begins`` and ``bounds`` are what ``code_user`` gives of each user, and ``thresholds`` what a sum
    must reach.
    """
    n_components = user_factors.shape[1]
    order = _by_group(places, len(item_of) // GROUP_ITEMS)
    said, wanted = np.empty(GROUP_ITEMS), np.zeros(GROUP_ITEMS // WIDE_ITEMS, np.uint64)
    most = np.empty(WIDE_ITEMS, np.float32)
    number = 0
    while number < len(order):
        user, group = users[order[number]], places[order[number]] // GROUP_ITEMS
        while number < len(order):
            held = order[number]
            if users[held] != user or places[held] // GROUP_ITEMS != group:
                break
            place = int64(places[held]) % GROUP_ITEMS
            said[place] = neighbors[held]
            wanted[place // WIDE_ITEMS] |= uint64(1) << uint64(place % WIDE_ITEMS)
            number += 1
        row, threshold = start + user, thresholds[user]
        vector, scores, items, size = user_factors[row], out_scores[row], out_items[row], out_lengths[row]
        code, begin, bound = user_codes[user], begins[user], bounds[user]
        for wide in range(len(wanted)):
            lanes = wanted[wide]
            if lanes == 0:
                continue
            wanted[wide] = 0
            block = int64(group) * GROUP_BLOCKS + wide * WIDE
            codes_that_reach(code, begin, codes, steps, block, bound, np.float32(0.0), most)
            while lanes != 0:
                lane = int64(lowest_bit(lanes))
                lanes &= lanes - uint64(1)
                say = said[wide * WIDE_ITEMS + lane]
                # Not "at least": what is no number may be anything.
                if most[lane] + np.float32(say) < threshold:
                    continue
                item = item_of[block * BLOCK_ITEMS + lane]
                if nearly(vector, item_rows[item]) + recency_of(recency, item) + np.float32(say) < threshold:
                    continue
                size = offer(scores, items, size, score_of(vector, item_rows, item, recency, say), item)
                threshold = threshold_of(scores, size, n_components)
        out_lengths[row], thresholds[user] = size, threshold
