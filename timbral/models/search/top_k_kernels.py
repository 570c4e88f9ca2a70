"""Compiled loops of ``timbral.models.search.top_k``.

A score is w·h + r + Σ v over what the user has played. The items that the last sum touches are few: they are scored
first, all of them. All others are ranked by w·h + r alone, among which the index finds what is still good enough.

``timbral.models.search.top_k_parameters`` has the parameters that the kernels share.

A list under construction is a heap with its worst entry on top: the lowest score, of equal scores the highest item.

A score that decides is always the exact one (``_score_of``); the index is searched with float32 sums, which of terms
that are not negative are wrong by at most ``n_components`` roundings, relatively. ``_threshold`` leaves room for twice
as much.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int32, int64, types, uint64

from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.vector_sum import LANES, UNROLLED, WIDE, weighted_sums, weighted_sums_of_blocks
from timbral.models.search.item_index import BLOCK_ITEMS, GROUP_BLOCKS, ROOM
from timbral.models.search.top_k_parameters import FACTORS, LISTS, NEIGHBORS, OUT, RULED_OUT, SCRATCH

EXCLUDED = -1
ROUND_SHARE = np.float32(0.7)
MAX_ROUNDS = 8
ALL_WIDE = (1 << WIDE) - 1
LOW_63_BITS = (1 << 63) - 1  # a shift to the right repeats the sign
TINY = np.float32(1e-37)  # what float32 may lose where products are below its normal range

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises
_reordering_jit = numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})

_BLOCKS = types.Array(float32, 3, "C", readonly=True)


@_jit
def _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(seen_indptr[row], seen_indptr[row + 1]):
        if marks[seen[place]] != EXCLUDED:
            marks[seen[place]] = row + 1
    for place in range(blocked_indptr[row], blocked_indptr[row + 1]):
        if marks[blocked[place]] != EXCLUDED:
            marks[blocked[place]] = row + 1


@_jit
def _add_neighbors(row, play_indptr, plays, pair_indptr, pair_items, pair_weights, sums, touched):  # type: ignore[no-untyped-def]  # numba types it
    """Σ v of each item, in ``sums``; returns how many of ``touched`` have one."""
    n_touched = 0
    for place in range(play_indptr[row], play_indptr[row + 1]):
        played = plays[place]
        for pair in range(pair_indptr[played], pair_indptr[played + 1]):
            weight = np.float64(pair_weights[pair])
            if weight > 0:  # else an item could be touched more than once
                item = pair_items[pair]
                if sums[item] == 0:
                    touched[n_touched] = item
                    n_touched += 1
                sums[item] += weight
    return n_touched


@_jit
def _clear(sums, touched, n_touched):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(n_touched):
        sums[touched[place]] = 0.0


@_jit
def _is_out(item, row, barred, marks):  # type: ignore[no-untyped-def]  # numba types it
    return marks[item] == EXCLUDED or marks[item] == row + 1 or (len(barred) > 0 and barred[item] != 0)


@_jit
def _recency_of(recency, item):  # type: ignore[no-untyped-def]  # numba types it
    return recency[item] if len(recency) > 0 else np.float32(0.0)


@_jit
def _score_of(user, item_rows, item, recency, neighbors):  # type: ignore[no-untyped-def]  # numba types it
    total = 0.0
    for component in range(len(user)):
        total += np.float64(user[component]) * np.float64(item_rows[item, component])
    return np.float32(total + np.float64(_recency_of(recency, item)) + neighbors)


@_jit
def _score_in_block(weights, components, n_weights, block, lane):  # type: ignore[no-untyped-def]  # numba types it
    """``_score_of``, leaving out the components that are zero in the user's vector: they change no sum."""
    total = 0.0
    for place in range(n_weights):
        total += np.float64(weights[place]) * np.float64(block[components[place], lane])
    return np.float32(total)


@_reordering_jit
def _nearly(user, item):  # type: ignore[no-untyped-def]  # numba types it
    total = np.float32(0.0)
    for component in range(len(user)):
        total += user[component] * item[component]
    return total


@_jit
def _threshold(scores, size, n_components):  # type: ignore[no-untyped-def]  # numba types it
    """What a float32 sum must reach for its item to have a chance."""
    if size < len(scores):
        return np.float32(-1.0)
    slack = np.float32((n_components + 5) * 2.0**-22)
    return scores[0] * (np.float32(1.0) - slack) - TINY


@_jit
def _offer_touched(  # type: ignore[no-untyped-def]  # numba types it
    user, item_rows, recency, row, seen_indptr, seen, blocked_indptr, blocked, barred, marks, sums, touched, n_touched,
    items, scores,
):  # fmt: skip
    """Begin a list with the items that neighbours speak for; gives its length and its threshold."""
    _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
    size, threshold = 0, np.float32(-1.0)
    for place in range(n_touched):
        item = touched[place]
        if _is_out(item, row, barred, marks):
            continue
        if _nearly(user, item_rows[item]) + _recency_of(recency, item) + np.float32(sums[item]) >= threshold:
            size = offer(scores, items, size, _score_of(user, item_rows, item, recency, sums[item]), item)
            threshold = _threshold(scores, size, len(user))
    return size, threshold


@_jit
def _split_user(weights, components, n_weights, direction):  # type: ignore[no-untyped-def]  # numba types it
    """What a user has along the items' mean direction and across it."""
    along, square, left = 0.0, 0.0, 1.0
    for place in range(n_weights):
        along += weights[place] * direction[components[place]]
    for place in range(n_weights):
        square += (weights[place] - along * direction[components[place]]) ** 2
        left -= direction[components[place]] ** 2
    # Where the user has nothing, the direction alone is left.
    square += max(left, 0.0) * along * along
    # The room for what is rounded away where next to nothing is left across.
    return np.float32(along * ROOM), np.float32(np.sqrt(square) * ROOM + 1e-7 * along)


@_jit
def _blocks_that_reach(along, across, lengths, first, threshold):  # type: ignore[no-untyped-def]  # numba types it
    blocks = 0
    for number in range(LANES):
        # Not "at least": what is no number may be anything.
        if not along * lengths[0, first + number] + across * lengths[1, first + number] < threshold:
            blocks |= 1 << number
    return blocks


@kernel(
    **FACTORS,
    packed=_BLOCKS,  # (n_groups · 32, width, 16): ItemIndex's parts, width is k and 1 more where there is recency
    item_of=vector(int32),  # (n_groups · 512,): the item in each place, −1 where there is none
    block_ceilings=_BLOCKS,  # (n_groups, width, 32): the largest values of each block
    group_ceilings=matrix(float32),  # (width, n_groups up to a multiple of 16): of each group
    direction=vector(float64),  # (width,): the items' mean, of length 1 or 0
    block_lengths=_BLOCKS,  # (n_groups, 2, 32): each block's largest length along it and across it
    group_lengths=matrix(float32),  # (2, n_groups): each group's
    **LISTS,
    **NEIGHBORS,
    **RULED_OUT,
    **SCRATCH,
    has_touched=vector(uint64, writable=True),  # (n_items,): all 0, before and after
    **OUT,
)
def search_index(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, packed, item_of, block_ceilings, group_ceilings, direction, block_lengths,
    group_lengths, start, stop, play_indptr, plays, pair_indptr, pair_items, pair_weights, seen_indptr, seen,
    blocked_indptr, blocked, barred, marks, sums, touched, has_touched, out_items, out_scores, out_lengths,
):  # fmt: skip
    """Lists from an ItemIndex, for at most 64 users. Where there is recency, it is the index's last component.

    Groups of items are visited in rounds, for each user the ones with the highest ceilings first. All users of a round
    share the group that is in the cache. ``has_touched`` gets a bit for each user whose neighbours touched the item.
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
        row = start + user
        n_touched = _add_neighbors(row, play_indptr, plays, pair_indptr, pair_items, pair_weights, sums, touched)
        if n_touched > 0:
            out_lengths[row], thresholds[user] = _offer_touched(
                user_factors[row], item_rows, recency, row, seen_indptr, seen, blocked_indptr, blocked, barred, marks,
                sums, touched, n_touched, out_items[row], out_scores[row],
            )  # fmt: skip
            for place in range(n_touched):
                has_touched[touched[place]] |= uint64(1) << uint64(user)
            _clear(sums, touched, n_touched)
        highest = np.float32(0.0)
        for first in range(0, group_ceilings.shape[1], LANES):
            weighted_sums(
                weights[user], components[user], n_weights[user], group_ceilings, first, 0.0, ceilings[user, first:]
            )
        along[user], across[user] = _split_user(weights[user], components[user], size, direction)
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
                            _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
                            is_marked = True
                        for lane in range(n_done * LANES):
                            if lanes == 0:
                                break
                            is_high = lanes & 1
                            lanes = (lanes >> 1) & LOW_63_BITS
                            item = item_of[block * BLOCK_ITEMS + lane]
                            if not is_high or block_sums[lane] < threshold or item < 0:
                                continue
                            if _is_out(item, row, barred, marks):
                                continue
                            if (has_touched[item] >> uint64(user)) & uint64(1):
                                continue
                            score = _score_in_block(w, c, n, packed[block + lane // LANES], lane % LANES)
                            size = offer(scores, items, size, score, item)
                            threshold = _threshold(scores, size, n_components)
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
        for place in range(play_indptr[row], play_indptr[row + 1]):
            for pair in range(pair_indptr[plays[place]], pair_indptr[plays[place] + 1]):
                has_touched[pair_items[pair]] = 0
        sort_best_first(out_scores[row], out_items[row], out_lengths[row])


@kernel(**FACTORS, **LISTS, **NEIGHBORS, **RULED_OUT, **SCRATCH, **OUT)
def search_all(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, start, stop, play_indptr, plays, pair_indptr, pair_items, pair_weights,
    seen_indptr, seen, blocked_indptr, blocked, barred, marks, sums, touched, out_items, out_scores, out_lengths,
):  # fmt: skip
    """Lists, each score computed: for few users, for whom no index is worth making."""
    n_items, n_components = item_rows.shape
    for row in range(start, stop):
        n_touched = _add_neighbors(row, play_indptr, plays, pair_indptr, pair_items, pair_weights, sums, touched)
        _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        scores, items, size = out_scores[row], out_items[row], 0
        user, threshold = user_factors[row], np.float32(-1.0)
        for item in range(n_items):
            if _nearly(user, item_rows[item]) + _recency_of(recency, item) + np.float32(sums[item]) < threshold:
                continue
            if not _is_out(item, row, barred, marks):
                size = offer(scores, items, size, _score_of(user, item_rows, item, recency, sums[item]), item)
                threshold = _threshold(scores, size, n_components)
        _clear(sums, touched, n_touched)
        sort_best_first(scores, items, size)
        out_lengths[row] = size


@kernel(
    **FACTORS,
    listed_start=vector(int64),  # (n_users,): where a user's items begin
    listed_stop=vector(int64),  # (n_users,): and the place behind their last
    listed=vector(int32),  # (n_listed,): the only items that may be in the lists
    **LISTS,
    **NEIGHBORS,
    **RULED_OUT,
    **SCRATCH,
    **OUT,
)
def search_listed(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, listed_start, listed_stop, listed, start, stop, play_indptr, plays, pair_indptr,
    pair_items, pair_weights, seen_indptr, seen, blocked_indptr, blocked, barred, marks, sums, touched, out_items,
    out_scores, out_lengths,
):  # fmt: skip
    """Lists, each from the items ``listed[listed_start[row] : listed_stop[row]]``."""
    n_components = user_factors.shape[1]
    for row in range(start, stop):
        n_touched = _add_neighbors(row, play_indptr, plays, pair_indptr, pair_items, pair_weights, sums, touched)
        _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        scores, items, size = out_scores[row], out_items[row], 0
        user, threshold = user_factors[row], np.float32(-1.0)
        for place in range(listed_start[row], listed_stop[row]):
            item = listed[place]
            if _is_out(item, row, barred, marks):
                continue
            marks[item] = row + 1  # an item that is listed twice is taken once
            if _nearly(user, item_rows[item]) + _recency_of(recency, item) + np.float32(sums[item]) >= threshold:
                size = offer(scores, items, size, _score_of(user, item_rows, item, recency, sums[item]), item)
                threshold = _threshold(scores, size, n_components)
        _clear(sums, touched, n_touched)
        sort_best_first(scores, items, size)
        out_lengths[row] = size


@kernel(
    **FACTORS,
    users=vector(int64),  # (n,): rows of user_factors
    items=vector(int64),  # (n,): rows of item_rows
    **NEIGHBORS,
    scores=vector(float32, writable=True),  # (n,): out
)
def score_pairs(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, users, items, play_indptr, plays, pair_indptr, pair_items, pair_weights, scores
):  # fmt: skip
    """``scores[n]``: the very score by which a list has ``items[n]`` for ``users[n]``."""
    for n in range(len(users)):
        user, item = users[n], items[n]
        neighbors = 0.0
        for place in range(play_indptr[user], play_indptr[user + 1]):
            low, high = pair_indptr[plays[place]], pair_indptr[plays[place] + 1]
            end = high
            while low < high:
                middle = (low + high) // 2
                if pair_items[middle] < item:
                    low = middle + 1
                else:
                    high = middle
            if low < end and pair_items[low] == item and pair_weights[low] > 0:
                neighbors += np.float64(pair_weights[low])
        scores[n] = _score_of(user_factors[user], item_rows, item, recency, neighbors)
