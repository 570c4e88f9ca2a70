"""Rows in the lanes of vector instructions: the same as one by one, whatever the company."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from timbral.models.engine import half_sweep
from timbral.models.engine.side_by_side import MOST_FEW, few_entries, lane_lines
from timbral.models.kernels.lanes import LANES
from timbral.models.nmf_model import NMFModel

NO_FEW = 7
"""Lines of scratch besides 3·k that leave no room for a row with entries, so that each is solved by itself."""


def one_by_one(k: int) -> int:
    return 3 * k + NO_FEW


options = st.fixed_dictionaries(
    {},
    optional={
        "unobserved_weight": st.sampled_from([0.0, 0.05, 1.0]),
        "unobserved_target": st.sampled_from([0.0, 0.4]),
        "confidence": st.sampled_from([0.5, 5.0]),
        "target": st.sampled_from(["one", "log"]),
        "l1_regularization": st.sampled_from([0.0, 0.02]),
    },
)


@settings(max_examples=40)
@given(st.integers(0, 2**16), st.sampled_from([1, 3, 4, 7, 33]), st.integers(1, 2 * LANES + 3), options)
def test_gets_what_rows_get_one_by_one(seed: int, k: int, n_rows: int, chosen: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    model = NMFModel(k, seed, 4, regularization=0.3, n_threads=1, **chosen)
    model.fit(sparse.random(40, 90, 0.2, "csr", np.float32, rng) * 9)
    rows = sparse.random(n_rows, 90, rng.uniform(0, 0.5), "csr", np.float32, rng) * 9

    together = model.fold_in(rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(half_sweep, "lane_lines", one_by_one)
        alone = model.fold_in(rows)

    np.testing.assert_allclose(together, alone, rtol=2e-3, atol=2e-3 * max(alone.max(initial=0), 1e-6))


def test_a_training_is_as_good_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = sparse.random(300, 200, 0.1, "csr", np.float32, np.random.default_rng(0))
    together = NMFModel(12, 0, 15, 0.0, n_threads=1).fit(plays).training_history

    monkeypatch.setattr(half_sweep, "lane_lines", one_by_one)
    alone = NMFModel(12, 0, 15, 0.0, n_threads=1).fit(plays).training_history

    assert together[0] == pytest.approx(alone[0], rel=1e-4)
    assert together[-1] == pytest.approx(alone[-1], rel=1e-2)


def test_a_row_gets_the_same_bits_in_any_company() -> None:
    rng = np.random.default_rng(1)
    model = NMFModel(9, 0, 5, n_threads=1).fit(sparse.random(50, 120, 0.2, "csr", np.float32, rng))
    rows = sparse.random(3 * LANES, 120, 0.3, "csr", np.float32, rng).tocsr()
    rows.data[rows.indptr[5] + 2 : rows.indptr[6]] = 0  # one short row among long ones
    rows.eliminate_zeros()

    together = model.fold_in(rows)

    for row in (0, 5, LANES, 3 * LANES - 1):
        np.testing.assert_array_equal(model.fold_in(rows[row]), together[row : row + 1])
    shuffled = rng.permutation(rows.shape[0])
    np.testing.assert_array_equal(model.fold_in(rows[shuffled]), together[shuffled])


@pytest.mark.parametrize("k", [1, 64, 100, 256, 1024, 4096])
def test_the_scratch_of_any_number_of_factors_stays_small(k: int) -> None:
    assert 1 <= few_entries(k) <= MOST_FEW
    assert lane_lines(k) * LANES * 4 < 2 * 2**20
