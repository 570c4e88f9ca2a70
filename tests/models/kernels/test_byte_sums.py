from __future__ import annotations

import numba
import numpy as np
import pytest

from timbral.models.kernels import byte_sums
from timbral.models.kernels.byte_sums import CODE_MIDDLE, MOST_CODE, QUAD, codes_that_reach
from timbral.models.kernels.vector_sum import LANES, WIDE


@pytest.mark.parametrize("instruction", ["the processor's", "two multiplications"])
@pytest.mark.parametrize("n_quads", [1, 7])
def test_codes_are_summed_and_compared(n_quads: int, instruction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if instruction == "two multiplications":
        monkeypatch.setattr(byte_sums, "_vnni", byte_sums._in_shorts)

    @numba.njit
    def reached(weights, start, codes, steps, block, bounds, threshold, out):
        return codes_that_reach(weights, start, codes, steps, block, bounds, threshold, out)

    rng = np.random.default_rng(n_quads)
    weights = rng.integers(-MOST_CODE, MOST_CODE + 1, n_quads * QUAD).astype(np.int8)
    codes = rng.integers(0, 256, (3 * WIDE, n_quads, LANES * QUAD)).astype(np.uint8)
    weights[:QUAD], codes[0, 0, :QUAD], codes[1, 0, :QUAD] = MOST_CODE, 255, 0  # the ends of what there may be
    steps, bounds = rng.random((3 * WIDE, 4, LANES), dtype=np.float32), np.array([5, 3, 4, 1e-3], np.float32)
    start = np.int32(-CODE_MIDDLE * weights.astype(int).sum())
    products = np.einsum(
        "qj,bqij->bi", weights.reshape(n_quads, QUAD).astype(int), codes.reshape(-1, n_quads, LANES, QUAD).astype(int)
    )
    sums = np.einsum("bpi,p->bi", steps[:, :3], bounds[:3]) + steps[:, 3] * bounds[3] * (products + start)
    threshold = np.float32(np.median(sums))
    assert (abs(sums - threshold) > 1e-5).sum() >= sums.size - 2

    out = np.full(WIDE * LANES + 1, -1, np.float32)
    for block in range(0, 3 * WIDE, WIDE):
        bits = reached(weights, start, codes, steps, block, bounds, threshold, out)
        found = np.array([bits >> np.uint64(lane) & np.uint64(1) for lane in range(WIDE * LANES)], bool)
        expected = sums[block : block + WIDE].ravel()
        np.testing.assert_allclose(out[:-1], expected, rtol=1e-5, atol=1e-5)
        assert out[-1] == -1
        clear = abs(expected - threshold) > 1e-5
        np.testing.assert_array_equal(found[clear], (expected >= threshold)[clear])


def test_what_is_not_a_number_may_reach_anything() -> None:
    @numba.njit
    def reached(weights, codes, steps, bounds):
        out = np.empty(WIDE * LANES, np.float32)
        return codes_that_reach(weights, np.int32(0), codes, steps, 0, bounds, np.float32(9), out)

    steps = np.full((WIDE, 4, LANES), np.nan, np.float32)
    codes, bounds = np.zeros((WIDE, 1, LANES * QUAD), np.uint8), np.ones(4, np.float32)

    assert reached(np.zeros(QUAD, np.int8), codes, steps, bounds) == 2**64 - 1
