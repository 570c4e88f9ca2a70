"""Compiled loops of ``timbral.models.similarity``.

A score that decides is always the exact one (``_score_of``), in float64 in the order of the components. What is summed
in float32, vectors no longer than 1, is wrong by at most a few roundings for each component; ``_slack`` has room for
twice as many.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int32, int64, types, uint8, uint64

from timbral.models.kernels.bits import lowest_bit
from timbral.models.kernels.byte_sums import MOST_CODE, QUAD
from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.nibble_sums import CODE_STEPS, CODED_ITEMS, MOST, lanes_that_reach
from timbral.models.kernels.prefetch import prefetch_row
from timbral.models.kernels.vector_sum import LANES

__all__ = [
    "FINE_MIDDLE",
    "FINE_PARTS",
    "MIDDLE",
    "NOISE",
    "ROUNDED",
    "alike_all",
    "alike_indexed",
    "encode",
    "own_parts",
    "said_together",
]

NOISE = 1e-10
"""Square of the length up to which an own part is what float32 rounds away."""

FINE_PARTS = 17
"""A step of the codes in steps of the fine ones, so that the ends of both are the same."""
FINE_STEPS = CODE_STEPS * FINE_PARTS
MIDDLE, FINE_MIDDLE = CODE_STEPS / 2, FINE_STEPS / 2
WAITING = 32
"""Items that are looked at closely at a time, while the memory of the next ones is on its way."""
ROUNDED = 1e-6
"""Room for what float32 and float64 round."""
TINY, HUGE = np.float32(1e-30), np.float32(1e30)

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises
_reordering_jit = numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})

# Parameters that kernels share.
_VECTORS = {
    "vectors": matrix(float32),  # (n_items, k): the items' vectors
    "mean": vector(float32),  # (k,): of their unit vectors
    "doubt": float64,  # square of the part that each item has for itself
}
_QUESTION = {
    "which": int64,  # the item that others are compared with
    "likely": vector(int32),  # (n_likely,): the items that neighbours speak for
    "likeness": vector(float64),  # (n_likely,): how strongly, in [0, 1)
    "marks": vector(int32, writable=True),  # (n_items,): all 0; not 0 afterwards for ``which`` and ``likely``
}
_OUT = {
    "out_items": vector(int32, writable=True),  # (the longest list,): a heap while it grows
    "out_scores": vector(float32, writable=True),  # (the longest list,)
}


@_jit
def _own_part(vectors, item, mean, doubt, out):  # type: ignore[no-untyped-def]  # numba types it
    """The item's unit vector less the mean, by its length with the doubt; zeros where it has none."""
    square = 0.0
    for f in range(len(mean)):
        square += np.float64(vectors[item, f]) * np.float64(vectors[item, f])
    out[:] = 0.0
    if square == 0.0:
        return
    scale, length = 1.0 / np.sqrt(square), 0.0
    for f in range(len(mean)):
        out[f] = scale * np.float64(vectors[item, f]) - np.float64(mean[f])
        length += out[f] * out[f]
    if length <= NOISE:
        out[:] = 0.0
        return
    length = np.sqrt(length + doubt)
    for f in range(len(mean)):
        out[f] /= length


@_jit
def _score_of(own, theirs, likeness):  # type: ignore[no-untyped-def]  # numba types it
    total = 0.0
    for f in range(len(own)):
        total += own[f] * theirs[f]
    total = max(total, 0.0)
    # A product of what is left by each, so that without neighbours the cosine stays what it is.
    return np.float32(total + likeness * (1.0 - total))


@_reordering_jit
def _nearly(vectors, item, mean, own):  # type: ignore[no-untyped-def]  # numba types it
    """The squares of the item's length and of its own part's, and the product of this with ``own``."""
    square = np.float32(0.0)
    for f in range(len(mean)):
        square += vectors[item, f] * vectors[item, f]
    length, product = np.float32(0.0), np.float32(0.0)
    if square > 0:
        scale = np.float32(1.0) / np.sqrt(square)
        for f in range(len(mean)):
            x = scale * vectors[item, f] - mean[f]
            length += x * x
            product += x * own[f]
    return square, length, product


@_reordering_jit
def _product(own, fine_codes, place):  # type: ignore[no-untyped-def]  # numba types it
    total = np.float32(0.0)
    for f in range(len(own)):
        total += own[f] * np.float32(fine_codes[place, f])
    return total


@_jit
def _may_reach(vectors, item, mean, own, doubt, slack, worst):  # type: ignore[no-untyped-def]  # numba types it
    square, length, product = _nearly(vectors, item, mean, own)
    if square < TINY or not square < HUGE:
        return True  # not for float32 to say
    # An own part is a difference: of a short one, what float32 rounds away is a larger part.
    inverse = np.float32(1.0) / np.sqrt(length + doubt)
    return product * inverse + slack * (np.float32(1.0) + inverse) >= worst


@_jit
def _slack(n_components):  # type: ignore[no-untyped-def]  # numba types it
    return np.float32((n_components + 8) * 2.0**-22)


@_jit
def _offer(own, vectors, mean, doubt, item, likeness, theirs, scores, items, size):  # type: ignore[no-untyped-def]  # numba types it
    _own_part(vectors, item, mean, doubt, theirs)
    score = _score_of(own, theirs, likeness)
    return offer(scores, items, size, score, item) if score > 0 else size


@_jit
def _begin(vectors, mean, doubt, which, likely, likeness, marks, own, theirs, items, scores):  # type: ignore[no-untyped-def]  # numba types it
    """Begin a list with the items that neighbours speak for; gives its length."""
    size = 0
    _own_part(vectors, which, mean, doubt, own)
    marks[which] = 1
    for place in range(len(likely)):
        if marks[likely[place]] == 0:
            marks[likely[place]] = 1
            size = _offer(own, vectors, mean, doubt, likely[place], likeness[place], theirs, scores, items, size)
    return size


@kernel(**_VECTORS, **_QUESTION, **_OUT)
def alike_all(vectors, mean, doubt, which, likely, likeness, marks, out_items, out_scores):  # type: ignore[no-untyped-def]  # numba types it
    """The list, each item looked at; returns its length."""
    n_items, n_components = vectors.shape
    own, theirs = np.empty(n_components), np.empty(n_components)
    size = _begin(vectors, mean, doubt, which, likely, likeness, marks, own, theirs, out_items, out_scores)
    own32, slack, doubt32 = own.astype(np.float32), _slack(n_components), np.float32(doubt)
    for item in range(n_items):
        if marks[item] != 0:
            continue
        worst = out_scores[0] if size == len(out_scores) else np.float32(0.0)
        if _may_reach(vectors, item, mean, own32, doubt32, slack, worst):
            size = _offer(own, vectors, mean, doubt, item, 0.0, theirs, out_scores, out_items, size)
    sort_best_first(out_scores, out_items, size)
    return size


@kernel(
    **_VECTORS,
    **_QUESTION,
    codes=types.Array(uint8, 3, "C", readonly=True),  # (n_blocks, k / 4 and more, 128): SimilarityIndex's parts
    item_of=vector(int32),  # (n_blocks · 64,): the item in each place, −1 where there is none
    scales=vector(float32),  # (n_blocks,): what a step of the codes stands for
    errors=vector(float32),  # (n_blocks,): the longest distance between an own part and what its codes stand for
    fine_codes=matrix(uint8),  # (n_blocks · 64, k)
    fine_errors=vector(float32),  # (n_blocks,): as ``errors``, of the fine codes
    **_OUT,
)
def alike_indexed(  # type: ignore[no-untyped-def]  # numba types it
    vectors, mean, doubt, which, likely, likeness, marks, codes, item_of, scales, errors, fine_codes, fine_errors,
    out_items, out_scores,
):  # fmt: skip
    """The list from a SimilarityIndex; returns its length.

    With q for the own part that others are compared with, and v for theirs, q·v = q'·v' + q'·(v - v') + (q - q')·v,
    where q' and v' are what whole numbers stand for: the first product is of whole numbers, the others are no more than
    |q'| · errors and |q - q'|. Of the items that this leaves, the fine codes, a cache line or two of an item, say the
    same more closely; few vectors are read.
    """
    n_components = vectors.shape[1]
    own, theirs = np.empty(n_components), np.empty(n_components)
    size = _begin(vectors, mean, doubt, which, likely, likeness, marks, own, theirs, out_items, out_scores)
    own32, slack, doubt32 = own.astype(np.float32), _slack(n_components), np.float32(doubt)
    weights = np.zeros(codes.shape[1] * QUAD, np.int8)
    step = np.abs(own).max() / MOST_CODE if n_components > 0 else 0.0
    total, length, error = 0.0, 0.0, 0.0
    for f in range(n_components if step > 0 else 0):
        whole = np.rint(own[f] / step)
        weights[f] = np.int8(whole)
        total += whole
        length += (whole * step) ** 2
        error += (own[f] - whole * step) ** 2
    length, error = np.sqrt(length), np.sqrt(error)
    square, around = np.sqrt((own * own).sum()), slack * np.abs(own).sum() * FINE_STEPS
    middle = FINE_MIDDLE * np.float64(own32.sum()) - around
    coded, n_coded = np.empty(WAITING + CODED_ITEMS, np.int64), 0
    waiting, n_waiting = np.empty(2 * WAITING + CODED_ITEMS, np.int64), 0
    n_blocks = len(codes) if step > 0 else 0
    for block in range(n_blocks):
        if scales[block] > 0:  # else of items that have nothing of their own
            worst = out_scores[0] if size == len(out_scores) else np.float32(0.0)
            needed = (worst - ROUNDED - length * errors[block] - error) / (step * scales[block])
            least = np.floor(needed + MIDDLE * total) - 1.0
            lanes = lanes_that_reach(weights, codes, block, np.int64(max(least, -MOST))) if least <= MOST else 0
            while lanes != 0:
                place = block * CODED_ITEMS + lowest_bit(uint64(lanes))
                lanes &= lanes - 1
                if item_of[place] >= 0:
                    prefetch_row(fine_codes, int64(place))
                    coded[n_coded] = place
                    n_coded += 1
        is_last = block == n_blocks - 1
        if n_coded >= WAITING or is_last:
            worst = out_scores[0] if size == len(out_scores) else np.float32(0.0)
            for place in coded[:n_coded]:
                of = place // CODED_ITEMS
                product = (_product(own32, fine_codes, place) - middle) * (scales[of] / np.float64(FINE_PARTS))
                if product + square * fine_errors[of] + ROUNDED >= worst:
                    prefetch_row(vectors, int64(item_of[place]))
                    waiting[n_waiting] = item_of[place]
                    n_waiting += 1
            n_coded = 0
        if n_waiting >= WAITING or is_last:
            for item in waiting[:n_waiting]:
                worst = out_scores[0] if size == len(out_scores) else np.float32(0.0)
                if marks[item] == 0 and _may_reach(vectors, item, mean, own32, doubt32, slack, worst):
                    size = _offer(own, vectors, mean, doubt, item, 0.0, theirs, out_scores, out_items, size)
            n_waiting = 0
    sort_best_first(out_scores, out_items, size)
    return size


@kernel(**_VECTORS, out=matrix(float32, writable=True))  # (n_items, k)
def own_parts(vectors, mean, doubt, out):  # type: ignore[no-untyped-def]  # numba types it
    """Every item's own part, by its length with the doubt: (n_items, k) float32."""
    theirs = np.empty(len(mean))
    for item in range(len(vectors)):
        _own_part(vectors, item, mean, doubt, theirs)
        for f in range(len(mean)):
            out[item, f] = theirs[f]


@kernel(
    own=matrix(float32),  # (n_items, k): as ``own_parts`` gives them
    item_of=vector(int32),  # (n_blocks · CODED_ITEMS,): the item in each place, −1 where there is none
    codes=types.Array(uint8, 3, "C"),  # (n_blocks, k / 4 rounded up, 128): all 0 before, out; see lanes_that_reach
    scales=vector(float32, writable=True),  # (n_blocks,): what a step of the codes stands for, out
    errors=vector(float32, writable=True),  # (n_blocks,): the longest distances, out
    fine_codes=matrix(uint8, writable=True),  # (n_blocks · CODED_ITEMS, k): all 0 before, out
    fine_errors=vector(float32, writable=True),  # (n_blocks,): the longest distances from them, out
)
def encode(own, item_of, codes, scales, errors, fine_codes, fine_errors):  # type: ignore[no-untyped-def]  # numba types it
    """The codes of the own parts of ``item_of``, in blocks: a code u stands for (u − 7.5) · the block's scale, a fine
    one for (u − 127.5) · a 17th of it. ``errors`` are the longest distances between an own part and what its codes
    stand for."""
    for block in range(len(codes)):
        places = item_of[block * CODED_ITEMS : (block + 1) * CODED_ITEMS]
        largest = np.float32(0.0)
        for item in places:
            for f in range(own.shape[1] if item >= 0 else 0):
                largest = max(largest, abs(own[item, f]))
        scales[block], errors[block], fine_errors[block] = largest / np.float32(MIDDLE), 0.0, 0.0
        scale = np.float64(scales[block])
        for lane in range(CODED_ITEMS if scale > 0 else 0):
            item, square, fine_square = places[lane], 0.0, 0.0
            for f in range(own.shape[1] if item >= 0 else 0):
                code = min(max(np.rint(own[item, f] / scale + MIDDLE), 0.0), np.float64(CODE_STEPS))
                square += (own[item, f] - (code - MIDDLE) * scale) ** 2
                at = lane // (2 * LANES) * LANES * QUAD + lane % LANES * QUAD + f % QUAD
                codes[block, f // QUAD, at] |= np.uint8(code) << np.uint8(lane // LANES % 2 * 4)
                code = min(max(np.rint(own[item, f] / scale * FINE_PARTS + FINE_MIDDLE), 0.0), np.float64(FINE_STEPS))
                fine_square += (own[item, f] - (code - FINE_MIDDLE) * scale / FINE_PARTS) ** 2
                fine_codes[block * CODED_ITEMS + lane, f] = np.uint8(code)
            errors[block] = max(errors[block], np.float32(np.sqrt(square) * (1.0 + 1e-6)))
            fine_errors[block] = max(fine_errors[block], np.float32(np.sqrt(fine_square) * (1.0 + 1e-6)))


@kernel(
    indptr=vector(int64),  # (n_items + 1,): Neighbors'
    items=vector(int32),  # (n_pairs,): its items
    weights=vector(float32),  # (n_pairs,): its weights
    source_indptr=vector(int64),  # (n_items + 1,): SimilarityIndex's
    sources=vector(int32),  # (n_pairs,): its sources
    item=int64,  # the one that is asked about
    weight=float64,  # what is said is divided by twice this, and s then stands for s / (1 + s)
    out_items=vector(int32, writable=True),  # (as many as the two rows have together,): out
    out_values=vector(float64, writable=True),  # (as many,): out
)
def said_together(indptr, items, weights, source_indptr, sources, item, weight, out_items, out_values):  # type: ignore[no-untyped-def]  # numba types it
    """What ``item`` and others say for each other, ascending; returns for how many. ``sources`` are those that speak
    for it."""
    n_items, size = len(indptr) - 1, 0
    place, end = indptr[item], indptr[item + 1]
    source, source_end = source_indptr[item], source_indptr[item + 1]
    while place < end or source < source_end:
        mine = items[place] if place < end else n_items
        other = sources[source] if source < source_end else n_items
        said = 0.0
        if mine <= other:
            said += np.float64(weights[place])
            place += 1
        if other <= mine:
            source += 1
            low, high = indptr[other], indptr[other + 1]
            while low < high:
                middle = (low + high) // 2
                if items[middle] < item:
                    low = middle + 1
                else:
                    high = middle
            if low < indptr[other + 1] and items[low] == item:
                said += np.float64(weights[low])
        if said > 0:
            said /= 2.0 * weight
            out_items[size], out_values[size] = min(mine, other), said / (1.0 + said)
            size += 1
    return size
