"""The search of an ItemIndex: lists by w·h + r alone, without what neighbours say.

What may reach the threshold by its codes is summed in float32, and what comes near it by that gets its exact score.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numba import float32, float64, int32, int64, uint64

from timbral.models.kernels.bits import count_bits, lowest_bit
from timbral.models.kernels.byte_sums import QUAD, codes_that_reach
from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.prefetch import prefetch_row
from timbral.models.kernels.vector_sum import LANES, UNROLLED, WIDE, weighted_sums
from timbral.models.search.item_index import BLOCK_ITEMS, GROUP_BLOCKS
from timbral.models.search.ruled_out import is_out, mark
from timbral.models.search.score import MOST, nearly, recency_of, score_of, threshold_of
from timbral.models.search.top_k_parameters import FACTORS, INDEX_BLOCKS, INDEX_CODES, LISTS, OUT, RULED_OUT
from timbral.models.search.user_codes import ROOM, code_user, split_user

__all__ = ["search_index"]

ROUND_SHARE: Final = np.float32(0.7)
MAX_ROUNDS: Final = 8
ALL_WIDE: Final = (1 << WIDE) - 1
CEILINGS_COST: Final = 8
"""Blocks whose codes take as long as the ceilings of a group's blocks: where these pass over fewer, they do not pay."""
CEILINGS_TRIED: Final = 4
FIRST_GROUPS: Final = 2
FIRST_LANES: Final = 256
"""Of the longest items, those of the first groups, what codes are sure of gives a threshold to begin with. The most in
each of so many lanes stands for all of them."""
MANY_GROUPS: Final = 256
"""Where there are fewer, it takes longer than it saves."""
DONE: Final = np.float32(-2.0)  # lower than what a list that is not full asks for

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def _terms(user, has_recency, weights, components):  # type: ignore[no-untyped-def]  # numba types it
    """The user's values that are not 0, and which they are; how many, up to a multiple of ``UNROLLED``."""
    size = 0
    for component in range(len(user)):
        if user[component] != 0:
            weights[size] = user[component]
            components[size] = component
            size += 1
    if has_recency:
        weights[size] = 1.0
        components[size] = len(user)
        size += 1
    # What is left of the last four has weight 0 and reads component 0.
    return -(-size // UNROLLED) * UNROLLED


@_jit
def _highest(values):  # type: ignore[no-untyped-def]  # numba types it
    highest = values[0]
    for value in values:
        highest = max(highest, value)
    return highest


@_jit
def _doubt(bounds, steps, lane):  # type: ignore[no-untyped-def]  # numba types it
    """How much less than by ``codes_that_reach`` an item's score may be: it adds to what it knows what codes miss, and
    ROOM twice over."""
    missed = bounds[1] * steps[1, lane] + bounds[2] * steps[2, lane]
    return np.float32(2.0) * missed + np.float32(4 * (ROOM - 1.0)) * bounds[0] * steps[0, lane]


@_jit
def _first_bounds(weights, begin, codes, steps, bounds, n_groups, least, out):  # type: ignore[no-untyped-def]  # numba types it
    """What the first groups' items score at least, the most in each of FIRST_LANES."""
    least[:] = 0.0
    for block in range(0, n_groups * GROUP_BLOCKS, WIDE):
        codes_that_reach(weights, begin, codes, steps, block, bounds, np.float32(0.0), out)
        first = block * LANES % FIRST_LANES
        for number in range(WIDE):
            for lane in range(LANES):
                bound = out[number * LANES + lane] - _doubt(bounds, steps[block + number], lane)
                place = first + number * LANES + lane
                least[place] = bound if bound > least[place] else least[place]


@_jit
def _threshold_of_first(least, rank, n_components):  # type: ignore[no-untyped-def]  # numba types it
    """What a sum must reach where ``rank`` items have a score of ``least``."""
    best, items, size = np.empty(rank, np.float32), np.empty(rank, np.int64), 0
    for place in range(len(least)):
        size = offer(best, items, size, least[place], place)
    return threshold_of(best, size, n_components)


@kernel(
    **FACTORS,
    codes=INDEX_CODES,  # ItemIndex's parts; width is k and 1 more where there is recency
    steps=INDEX_BLOCKS,  # (n_groups · 32, 4, 16): the items' lengths, what codes are off by, and what their step is
    item_of=vector(int32),  # (n_groups · 512,): the item in each place, −1 where there is none
    block_ceilings=INDEX_BLOCKS,  # (n_groups, width, 32): the largest values of each block
    group_ceilings=matrix(float32),  # (width, n_groups up to a multiple of 16): of each group
    direction=vector(float64),  # (width,): the items' mean, of length 1 or 0
    block_lengths=INDEX_BLOCKS,  # (n_groups, 2, 32): each block's largest length along it and across it
    group_lengths=matrix(float32),  # (2, n_groups up to a multiple of 16): each group's
    **LISTS,
    n_barred=int64,  # at least as many items as there are in no list
    **RULED_OUT,
    **OUT,
)
def search_index(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, codes, steps, item_of, block_ceilings, group_ceilings, direction, block_lengths,
    group_lengths, start, stop, n_barred, seen_indptr, seen, blocked_indptr, blocked, barred, marks, out_items,
    out_scores, out_lengths,
):  # fmt: skip
    """Lists from an ItemIndex. Where there is recency, it is the index's last component.

    Groups of items are visited in rounds, for each user the ones with the highest bounds first. All users of a round
    share the group that is in the cache. Ceilings of groups are asked for in strips of 16, where lengths leave any.
    """
    n_users, n_components, n_groups = stop - start, user_factors.shape[1], len(block_ceilings)
    n_strips, has_recency = group_ceilings.shape[1] // LANES, len(recency) > 0
    weights = np.zeros((n_users, n_components + 1 + UNROLLED), np.float32)
    components = np.zeros((n_users, n_components + 1 + UNROLLED), np.int64)
    n_weights = np.zeros(n_users, np.int64)
    lengths, which_length = np.zeros((n_users, UNROLLED), np.float32), np.array([0, 1, 0, 0])
    user_codes = np.zeros((n_users, codes.shape[1] * QUAD), np.int8)
    starts, bounds = np.empty(n_users, np.int32), np.empty((n_users, 4), np.float32)
    reaches = np.empty((n_users, n_strips * LANES), np.float32)
    strip_lengths = np.zeros((2, n_strips), np.float32)
    for way in range(2):
        for strip in range(n_strips):
            strip_lengths[way, strip] = _highest(group_lengths[way, strip * LANES : (strip + 1) * LANES])
    strip_reaches = np.empty((n_users, n_strips), np.float32)
    is_known = np.zeros((n_users, n_strips), np.bool_)
    tries = np.full(n_users, CEILINGS_COST * CEILINGS_TRIED)
    thresholds, lower = np.full(n_users, np.float32(-1.0)), np.empty(n_users, np.float32)
    waiting, most = np.empty(GROUP_BLOCKS * BLOCK_ITEMS, np.int32), np.empty(GROUP_BLOCKS * BLOCK_ITEMS, np.float32)
    least = np.empty(FIRST_LANES, np.float32)
    here, sums = np.empty(n_users, np.int64), np.empty(WIDE * LANES, np.float32)
    for user in range(n_users):
        vector = user_factors[start + user]
        out_lengths[start + user] = 0
        n_weights[user] = _terms(vector, has_recency, weights[user], components[user])
        lengths[user, 0], lengths[user, 1] = split_user(vector, has_recency, direction)
        starts[user] = code_user(vector, has_recency, direction, user_codes[user], bounds[user])
        along, across, highest = lengths[user, 0], lengths[user, 1], DONE
        for strip in range(n_strips):
            reach = along * strip_lengths[0, strip] + across * strip_lengths[1, strip]
            strip_reaches[user, strip] = reach if reach < MOST else MOST
            highest = max(highest, strip_reaches[user, strip])
        if highest >= MOST:
            bounds[user, 1] = np.inf  # where products may be too large for float32, codes pass over nothing
        lower[user] = highest * ROUND_SHARE
        row = start + user
        n_out = n_barred + seen_indptr[row + 1] - seen_indptr[row] + blocked_indptr[row + 1] - blocked_indptr[row]
        if n_groups >= MANY_GROUPS and out_scores.shape[1] + n_out <= FIRST_LANES // 4:
            n_first = FIRST_GROUPS
            _first_bounds(user_codes[user], starts[user], codes, steps, bounds[user], n_first, least, sums)
            thresholds[user] = _threshold_of_first(least, out_scores.shape[1] + n_out, n_components)
    is_left, n_rounds = n_strips > 0, 0
    while is_left:
        n_rounds += 1
        for strip in range(n_strips):
            n_here = 0
            for user in range(n_users):
                reach = strip_reaches[user, strip]
                if reach < lower[user] or reach < thresholds[user]:
                    continue
                strip_of_user = reaches[user, strip * LANES : (strip + 1) * LANES]
                if not is_known[user, strip]:
                    is_known[user, strip] = True
                    first = strip * LANES
                    weighted_sums(lengths[user], which_length, UNROLLED, group_lengths, first, 0.0, strip_of_user)
                    weighted_sums(weights[user], components[user], n_weights[user], group_ceilings, first, 0.0, sums)
                    for lane in range(LANES):
                        reach = min(strip_of_user[lane], sums[lane]) if sums[lane] < MOST else strip_of_user[lane]
                        strip_of_user[lane] = (reach if reach < MOST else MOST) if first + lane < n_groups else DONE
                here[n_here] = user
                n_here += 1
            for group in range(strip * LANES, min(strip * LANES + LANES, n_groups)):
                for place in range(n_here):
                    user = here[place]
                    reach, threshold = reaches[user, group], thresholds[user]
                    if reach < lower[user] or reach < threshold:
                        continue
                    reaches[user, group] = DONE
                    row = start + user
                    vector, scores, items, size = user_factors[row], out_scores[row], out_items[row], out_lengths[row]
                    is_marked, n_waiting, bound, code, begin = False, 0, bounds[user], user_codes[user], starts[user]
                    for first in range(0, GROUP_BLOCKS, LANES):
                        blocks = weighted_sums(
                            lengths[user], which_length, UNROLLED, block_lengths[group], first, threshold, sums
                        )
                        if blocks == 0:
                            continue
                        if tries[user] > 0:
                            low = weighted_sums(
                                weights[user], components[user], n_weights[user], block_ceilings[group], first,
                                threshold, sums,
                            )  # fmt: skip
                            tries[user] += count_bits(blocks & ~low) - CEILINGS_COST // 2
                            blocks &= low
                        block = group * GROUP_BLOCKS + first
                        while blocks != 0:
                            if blocks & ALL_WIDE != 0:
                                lanes = codes_that_reach(code, begin, codes, steps, block, bound, threshold, sums)
                                while lanes != 0:
                                    lane = int64(lowest_bit(lanes))
                                    lanes &= lanes - uint64(1)
                                    item = item_of[block * BLOCK_ITEMS + lane]
                                    if item < 0:
                                        continue
                                    waiting[n_waiting], most[n_waiting] = item, sums[lane]
                                    n_waiting += 1
                            blocks >>= WIDE
                            block += WIDE
                    for number in range(n_waiting):
                        if not most[number] < threshold:
                            prefetch_row(item_rows, waiting[number])
                    for number in range(n_waiting):
                        item = waiting[number]
                        if most[number] < threshold:
                            continue
                        if nearly(vector, item_rows[item]) + recency_of(recency, item) < threshold:
                            continue
                        if not is_marked:
                            mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
                            is_marked = True
                        if is_out(item, row, barred, marks):
                            continue
                        size = offer(scores, items, size, score_of(vector, item_rows, item, recency, 0.0), item)
                        threshold = max(threshold, threshold_of(scores, size, n_components))
                    out_lengths[row], thresholds[user] = size, threshold
            for place in range(n_here):
                user = here[place]
                strip_reaches[user, strip] = _highest(reaches[user, strip * LANES : (strip + 1) * LANES])
        is_left = False
        for user in range(n_users):
            highest = _highest(strip_reaches[user])
            lower[user] = highest * ROUND_SHARE if n_rounds < MAX_ROUNDS - 1 else np.float32(-1.0)
            if highest >= 0 and highest >= thresholds[user]:
                is_left = True
    for row in range(start, stop):
        sort_best_first(out_scores[row], out_items[row], out_lengths[row])
