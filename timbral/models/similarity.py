"""Items that are alike: the cosine of what their vectors have of their own.

Where what was not observed aims above 0, all item vectors share what gives everybody that score, so that the plain
cosine of any two is near 1. An item's own part is its unit vector less the mean of all items' unit vectors. An item
with few users hardly leaves the mean, and in which direction is chance; so the cosine is that of vectors which have,
besides, a part unlike any other item's, ``DOUBT`` times as long as an own part is in the root mean square.

Which item goes with which, factors blur; so the doubt that they leave is lessened by what the two say for each other as
neighbours: of a cosine c and a likeness p, both below 1, the score is 1 − (1 − c)(1 − p).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import float32, float64

from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads
from timbral.models.search import similarity_kernels as kernels
from timbral.models.search.scratch import scratch

__all__ = ["doubt_of", "mean_direction", "most_similar"]

Vector = npt.NDArray[np.float32]
Together = tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]
Blocks = tuple[npt.NDArray[Any], ...]

DOUBT: Final = 0.5
LEAST_BLOCKS: Final = 4096
"""Of an index, for a thread to search: fewer take hardly longer than to start one."""


@kernel(matrix(float32), vector(float64, writable=True), fastmath=True)
def _add_units(vectors, total):  # type: ignore[no-untyped-def]  # numba types it
    """Add the unit vectors of all rows to ``total``; returns how many rows are not 0."""
    n, k = vectors.shape
    filled = 0
    for i in range(n):
        square = float32(0.0)
        for f in range(k):
            square += vectors[i, f] * vectors[i, f]
        if square > 0:
            filled += 1
            scale = 1 / np.sqrt(square)
            for f in range(k):
                total[f] += scale * vectors[i, f]
    return filled


def mean_direction(vectors: Vector) -> Vector:
    """The mean (k,) of the unit vectors of the rows of ``vectors`` (n, k); rows of zeros count for nothing."""
    total = np.zeros(vectors.shape[1])
    filled = _add_units(vectors, total)
    return np.asarray(total / max(filled, 1), dtype=np.float32)


def doubt_of(mean: Vector) -> float:
    """Square of the part that each item has for itself; ``mean`` as ``mean_direction`` gives it."""
    # Of unit vectors, the mean square of the distance from their mean is 1 - |mean|².
    # Summed one by one: a product of vectors may differ in its last bit by where they lie in memory.
    square = math.fsum(value * value for value in mean.tolist())
    return DOUBT**2 * max(1.0 - square, kernels.NOISE)


def most_similar(
    vectors: Vector,
    mean: Vector,
    together: Together,
    which: int,
    top_k: int,
    index: Blocks | None = None,
    n_threads: int = 1,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The rows of ``vectors`` (n, k) most like row ``which``: (indices, scores in (0, 1)), best first, without itself.

    1 would be the same direction, surely; two items of one direction, whose own parts are as long as usual, have 1 / (1
    + DOUBT²) = 0.8. a is as much like b as b is like a. Rows that are no more like it than the mean of all is, are left
    out; so fewer than ``top_k`` may come back. The lower index is first where scores are equal. A score is the float32
    nearest to what float64 gives, in the order of the components; with an ``index`` the list is the same.

    Args:
        mean: (k,), ``mean_direction(vectors)``.
        together: rows, int32, and how much each of them and row ``which`` say for each other as neighbours, float64 in
            [0, 1); the others say nothing.
        index: ``blocks`` of the ``SimilarityIndex`` of ``vectors``.
        n_threads: at most so many search a large index.
    """
    likely, likeness = together
    size = min(top_k, len(vectors))
    n_blocks = 1 if index is None else len(index[0])
    edges = np.linspace(0, n_blocks, max(1, min(n_threads, n_blocks // LEAST_BLOCKS)) + 1).astype(int)
    lists = [_List(np.empty(size, np.int32), np.empty(size, np.float32)) for _ in edges[1:]]
    with scratch(len(vectors), [likely, np.array([which])]) as held:

        def search(first: int, last: int) -> None:
            part = int(np.searchsorted(edges, first))
            # Who is spoken for is the first part's to find, marked or not: the best of what is said of an item stands.
            n_likely = len(likely) if part == 0 else 0
            said = likely[:n_likely], likeness[:n_likely]
            question, out = (vectors, mean, doubt_of(mean), which, *said, held.marks), lists[part]
            if index is None:
                out.length = kernels.alike_all(*question, out.found, out.scores)
            else:
                of_part = (array[len(array) // n_blocks * first : len(array) // n_blocks * last] for array in index)
                out.length = kernels.alike_indexed(*question, *of_part, out.found, out.scores)

        with Threads(len(lists)) as threads:
            threads.run(search, itertools.pairwise(edges.tolist()))
    found = np.concatenate([one.found[: one.length] for one in lists])
    scores = np.concatenate([one.scores[: one.length] for one in lists])
    if len(lists) > 1:
        order = np.lexsort((found, -scores))
        places = np.sort(np.unique(found[order], return_index=True)[1])[:size]
        found, scores = found[order[places]], scores[order[places]]
    return found, scores


@dataclass
class _List:
    """What one thread has found, in the first ``length`` places, best first."""

    found: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    length: int = 0
