from __future__ import annotations

import numba
import numpy as np
import pytest

from timbral.models.kernels.vector_sum import (
    LANES,
    UNROLLED,
    WIDE,
    aligned_zeros,
    weighted_sums,
    weighted_sums_of_blocks,
)


@numba.njit
def sums_of(weights, components, matrix, column, threshold, out):
    return weighted_sums(weights, components, len(weights), matrix, column, threshold, out)


@numba.njit
def sums_of_blocks(weights, components, blocks, first, threshold, out):
    return weighted_sums_of_blocks(weights, components, len(weights), blocks, first, threshold, out)


def test_blocks_in_a_row_are_summed_and_compared() -> None:
    rng = np.random.default_rng(1)
    blocks = rng.random((9, 30, LANES), dtype=np.float32)
    weights, components = rng.random(8, dtype=np.float32), rng.integers(0, 30, 8)
    out = np.full(WIDE * LANES + 1, -1, np.float32)

    for first in (0, 5):
        expected = np.concatenate([weights @ blocks[number, components] for number in range(first, first + WIDE)])
        threshold = np.float32(np.median(expected))
        reached = sums_of_blocks(weights, components, blocks, first, threshold, out)

        np.testing.assert_allclose(out[:-1], expected, rtol=1e-5)
        assert out[-1] == -1
        assert reached % 2**64 == sum(1 << lane for lane in range(WIDE * LANES) if out[lane] >= threshold)


@pytest.mark.parametrize("n_weights", [0, UNROLLED, 5 * UNROLLED])
def test_sixteen_columns_are_summed_and_compared(n_weights: int) -> None:
    rng = np.random.default_rng(n_weights)
    matrix = rng.random((30, 3 * LANES), dtype=np.float32)
    weights, components = rng.random(n_weights, dtype=np.float32), rng.integers(0, 30, n_weights)
    out = np.full(LANES + 1, -1, np.float32)

    for column in (0, 5, 2 * LANES):
        expected = weights @ matrix[components, column : column + LANES]
        threshold = np.float32(np.median(expected))
        reached = sums_of(weights, components, matrix, column, threshold, out)

        np.testing.assert_allclose(out[:LANES], expected, rtol=1e-5)
        assert out[LANES] == -1
        assert reached == sum(1 << lane for lane in range(LANES) if out[lane] >= threshold)


def test_a_call_starts_from_zero_each_time() -> None:
    ones, out = np.ones((4, LANES), np.float32), np.empty(LANES, np.float32)

    for _ in range(3):
        sums_of(np.ones(4, np.float32), np.arange(4), ones, 0, np.float32(0), out)
        assert (out == 4).all()


def test_what_is_not_a_number_may_reach_anything() -> None:
    out = np.empty(LANES, np.float32)
    matrix = np.full((4, LANES), np.nan, np.float32)

    assert sums_of(np.ones(4, np.float32), np.arange(4), matrix, 0, np.float32(9), out) == 2**LANES - 1


def test_other_arrays_are_refused_at_compilation() -> None:
    with pytest.raises(numba.core.errors.TypingError):
        sums_of(np.ones(4), np.arange(4), np.ones((4, LANES)), 0, np.float32(0), np.empty(LANES, np.float32))


def test_aligned_arrays_start_at_a_cache_line() -> None:
    for shape in ((1, 1), (3, 5, 7), (16, 64)):
        array = aligned_zeros(shape)
        assert array.ctypes.data % 64 == 0
        assert array.shape == shape
        assert not array.any()
