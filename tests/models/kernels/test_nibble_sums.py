from __future__ import annotations

import numba
import numpy as np
import pytest

from timbral.models.kernels import byte_sums
from timbral.models.kernels.byte_sums import MOST_CODE, QUAD
from timbral.models.kernels.nibble_sums import CODE_STEPS, CODED_ITEMS, HALVES, lanes_that_reach
from timbral.models.kernels.vector_sum import LANES


@pytest.mark.parametrize("instruction", ["the processor's", "two multiplications"])
@pytest.mark.parametrize("n_quads", [1, 7])
def test_codes_of_four_bits_are_summed_and_compared(
    n_quads: int, instruction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if instruction == "two multiplications":
        monkeypatch.setattr(byte_sums, "_vnni", byte_sums._in_shorts)

    @numba.njit
    def reached(weights, codes, block, least):
        return lanes_that_reach(weights, codes, block, least)

    rng = np.random.default_rng(n_quads)
    weights = rng.integers(-MOST_CODE, MOST_CODE + 1, n_quads * QUAD).astype(np.int8)
    items = rng.integers(0, CODE_STEPS + 1, (3, CODED_ITEMS, n_quads * QUAD)).astype(np.uint8)
    weights[:QUAD], items[0, 0], items[1, 63] = MOST_CODE, CODE_STEPS, 0  # the ends of what there may be
    by_quad = items.reshape(3, HALVES, 2, LANES, n_quads, QUAD).transpose(0, 4, 1, 2, 3, 5)
    codes = (by_quad[:, :, :, 0] | by_quad[:, :, :, 1] << 4).reshape(3, n_quads, -1)
    sums = items.astype(int) @ weights.astype(int)

    for block, of_block in enumerate(sums):
        for least in (*np.sort(of_block)[[0, 20, 63]], of_block.max() + 1):
            bits = np.uint64(np.int64(reached(weights, codes, block, least)))
            found = np.array([bits >> np.uint64(lane) & np.uint64(1) for lane in range(CODED_ITEMS)], bool)
            np.testing.assert_array_equal(found, of_block >= least)
