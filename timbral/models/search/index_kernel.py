"""The search of an ItemIndex: lists by w·h + r alone, without what neighbours say.

Sums are of float32, and what comes near the threshold by them gets its exact score.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numba import float32, float64, int32, types

from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.vector_sum import LANES, UNROLLED, WIDE, weighted_sums, weighted_sums_of_blocks
from timbral.models.search.item_index import BLOCK_ITEMS, GROUP_BLOCKS, split_user
from timbral.models.search.ruled_out import is_out, mark
from timbral.models.search.score import score_in_block, threshold_of
from timbral.models.search.top_k_parameters import LISTS, OUT, RECENCY, RULED_OUT, USERS

__all__ = ["search_index"]

ROUND_SHARE: Final = np.float32(0.7)
MAX_ROUNDS: Final = 8
ALL_WIDE: Final = (1 << WIDE) - 1
LOW_63_BITS: Final = (1 << 63) - 1  # a shift to the right repeats the sign

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises

_BLOCKS = types.Array(float32, 3, "C", readonly=True)


@_jit
def _blocks_that_reach(along, across, lengths, first, threshold):  # type: ignore[no-untyped-def]  # numba types it
    blocks = 0
    for number in range(LANES):
        # Not "at least": what is no number may be anything.
        if not along * lengths[0, first + number] + across * lengths[1, first + number] < threshold:
            blocks |= 1 << number
    return blocks


@kernel(
    **USERS,
    **RECENCY,
    packed=_BLOCKS,  # (n_groups · 32, width, 16): ItemIndex's parts, width is k and 1 more where there is recency
    item_of=vector(int32),  # (n_groups · 512,): the item in each place, −1 where there is none
    block_ceilings=_BLOCKS,  # (n_groups, width, 32): the largest values of each block
    group_ceilings=matrix(float32),  # (width, n_groups up to a multiple of 16): of each group
    direction=vector(float64),  # (width,): the items' mean, of length 1 or 0
    block_lengths=_BLOCKS,  # (n_groups, 2, 32): each block's largest length along it and across it
    group_lengths=matrix(float32),  # (2, n_groups): each group's
    **LISTS,
    **RULED_OUT,
    **OUT,
)
def search_index(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, recency, packed, item_of, block_ceilings, group_ceilings, direction, block_lengths,
    group_lengths, start, stop, seen_indptr, seen, blocked_indptr, blocked, barred, marks, out_items, out_scores,
    out_lengths,
):  # fmt: skip
    """Lists from an ItemIndex. Where there is recency, it is the index's last component.

    Groups of items are visited in rounds, for each user the ones with the highest ceilings first. All users of a round
    share the group that is in the cache.
    """
    n_users, n_components, n_groups = stop - start, user_factors.shape[1], len(block_ceilings)
    weights = np.zeros((n_users, n_components + 1 + UNROLLED), np.float32)
    components = np.zeros((n_users, n_components + 1 + UNROLLED), np.int64)
    n_weights = np.zeros(n_users, np.int64)
    ceilings = np.empty((n_users, group_ceilings.shape[1]), np.float32)
    upper, lower = np.empty(n_users, np.float32), np.empty(n_users, np.float32)
    thresholds = np.empty(n_users, np.float32)
    along, across = np.empty(n_users, np.float32), np.empty(n_users, np.float32)
    block_sums = np.empty(WIDE * LANES, np.float32)
    for user in range(n_users):
        size = 0
        for component in range(n_components):
            if user_factors[start + user, component] != 0:
                weights[user, size] = user_factors[start + user, component]
                components[user, size] = component
                size += 1
        if len(recency) > 0:
            weights[user, size] = 1.0
            components[user, size] = n_components
            size += 1
        # What is left of the last four has weight 0 and reads component 0.
        n_weights[user] = -(-size // UNROLLED) * UNROLLED
        out_lengths[start + user] = 0
        thresholds[user] = -1.0
        highest = np.float32(0.0)
        for first in range(0, group_ceilings.shape[1], LANES):
            weighted_sums(
                weights[user], components[user], n_weights[user], group_ceilings, first, 0.0, ceilings[user, first:]
            )
        along[user], across[user] = split_user(user_factors[start + user], len(recency) > 0, direction)
        for group in range(n_groups):
            reach = along[user] * group_lengths[0, group] + across[user] * group_lengths[1, group]
            if reach < ceilings[user, group]:
                ceilings[user, group] = reach
            highest = max(highest, ceilings[user, group])
        upper[user] = np.inf
        lower[user] = highest * ROUND_SHARE
    is_left, n_rounds = True, 0
    while is_left:
        n_rounds += 1
        is_left, is_last = False, n_rounds >= MAX_ROUNDS - 1
        for group in range(n_groups):
            for user in range(n_users):
                ceiling = ceilings[user, group]
                if ceiling < lower[user] or ceiling >= upper[user] or ceiling < thresholds[user]:
                    continue
                row = start + user
                scores, items, size = out_scores[row], out_items[row], out_lengths[row]
                threshold, is_marked = thresholds[user], False
                w, c, n = weights[user], components[user], n_weights[user]
                for first in range(0, GROUP_BLOCKS, LANES):
                    blocks = _blocks_that_reach(along[user], across[user], block_lengths[group], first, threshold)
                    if blocks == 0:
                        continue
                    blocks &= weighted_sums(w, c, n, block_ceilings[group], first, threshold, block_sums)
                    block = group * GROUP_BLOCKS + first
                    while blocks != 0:
                        if blocks & 1 == 0:
                            blocks >>= 1
                            block += 1
                            continue
                        if blocks & ALL_WIDE == ALL_WIDE:
                            lanes = weighted_sums_of_blocks(w, c, n, packed, block, threshold, block_sums)
                            n_done = WIDE
                        else:
                            lanes = weighted_sums(w, c, n, packed[block], 0, threshold, block_sums)
                            n_done = 1
                        if lanes != 0 and not is_marked:
                            mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
                            is_marked = True
                        for lane in range(n_done * LANES):
                            if lanes == 0:
                                break
                            is_high = lanes & 1
                            lanes = (lanes >> 1) & LOW_63_BITS
                            item = item_of[block * BLOCK_ITEMS + lane]
                            if not is_high or block_sums[lane] < threshold or item < 0:
                                continue
                            if is_out(item, row, barred, marks):
                                continue
                            score = score_in_block(w, c, n, packed[block + lane // LANES], lane % LANES)
                            size = offer(scores, items, size, score, item)
                            threshold = threshold_of(scores, size, n_components)
                        blocks >>= n_done
                        block += n_done
                out_lengths[row], thresholds[user] = size, threshold
        for user in range(n_users):
            upper[user] = lower[user]
            lower[user] = np.float32(-1.0) if is_last else lower[user] * ROUND_SHARE
            if upper[user] >= 0 and upper[user] >= thresholds[user]:
                is_left = True
            else:
                upper[user] = np.float32(-1.0)
    for row in range(start, stop):
        sort_best_first(out_scores[row], out_items[row], out_lengths[row])
