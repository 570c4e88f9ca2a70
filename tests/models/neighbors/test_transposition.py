from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from timbral.models.neighbors import transposition
from timbral.models.neighbors.short_floats import LEFT_OUT, shortened
from timbral.models.neighbors.transposition import transposed


def pairs(n_items: int, width: int, n_candidates: int, n_kinds: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_items)
    items = np.array([rng.permutation(n_items)[:width] for _ in range(n_items)], np.int32)
    weights = rng.random((n_items, n_candidates, n_kinds), dtype=np.float32)
    weights[rng.random(weights.shape) < 0.3] = 0
    weights[rng.random(weights.shape[:2]) < 0.3] = 0
    return items, shortened(weights)


def lengthened(short: np.ndarray) -> np.ndarray:
    return (short.astype(np.uint32) << LEFT_OUT).view(np.float32)


@pytest.mark.parametrize("n_kinds", [1, 3])
@pytest.mark.parametrize("small", [0, 10**6])
def test_each_pair_goes_to_the_item_that_speaks(monkeypatch: pytest.MonkeyPatch, n_kinds: int, small: int) -> None:
    monkeypatch.setattr(transposition, "SMALL", small)
    items, weights = pairs(90, 20, 15, n_kinds)
    dense = np.zeros((n_kinds, 90, 90), np.float32)  # who speaks, for whom
    for item in range(90):
        dense[:, items[item, :15], item] = lengthened(weights[item].T)
    wanted = dense.any(axis=0)

    indptr, targets, turned = transposed(items, weights)

    np.testing.assert_array_equal(np.diff(indptr), wanted.sum(axis=1))
    np.testing.assert_array_equal(targets, np.nonzero(wanted)[1])  # ascending
    np.testing.assert_array_equal(turned, dense[:, wanted])


def test_nothing_is_turned_into_nothing() -> None:
    items, weights = pairs(7, 3, 2, 1)

    indptr, targets, turned = transposed(items, np.zeros_like(weights))

    assert (indptr.tolist(), len(targets), turned.shape) == ([0] * 8, 0, (1, 0))


def test_what_has_been_moved_is_given_back() -> None:
    transposed(*pairs(2, 1, 1, 1))  # compiled
    tracemalloc.start()
    items = np.repeat(np.random.default_rng(0).permutation(20_000).astype(np.int32)[:, None], 100, axis=1)
    weights = shortened(np.ones((20_000, 100, 1), np.float32))
    size = items.nbytes + 2 * weights.nbytes
    tracemalloc.reset_peak()

    _, targets, turned = transposed(items, weights)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert targets.nbytes + turned.nbytes == size
    # What is written into is traced whole from the start, though its pages come one by one.
    assert peak < 2.2 * size
    assert items.size + weights.size == 0
