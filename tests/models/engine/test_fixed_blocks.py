"""Sums by fixed blocks: the same bits however the rows are cut."""

from __future__ import annotations

import numpy as np
import pytest

from timbral.models.engine.balance import add_squares, squares
from timbral.models.engine.fixed_blocks import (
    LEAST_ROWS,
    MOST_BLOCKS,
    added_in_order,
    block_rows,
    sum_of_values,
    sums_by_block,
    value_sums,
)
from timbral.models.engine.gram import add_products, gram, gram_of
from timbral.models.kernels.threads import Threads


def test_edges_follow_from_the_number_of_rows_alone() -> None:
    assert block_rows(0) == block_rows(LEAST_ROWS * MOST_BLOCKS) == LEAST_ROWS
    assert block_rows(LEAST_ROWS * MOST_BLOCKS + 1) == 2 * LEAST_ROWS
    assert 50_000_000 / block_rows(50_000_000) <= MOST_BLOCKS


@pytest.mark.parametrize("n_rows", [1, 511, 5000])
def test_parts_that_are_summed_apart_give_the_bits_of_the_whole(n_rows: int) -> None:
    # given: rows, and parts of them that end where a block does
    rng = np.random.default_rng(0)
    factors, weights = rng.random((n_rows, 13), dtype=np.float32), rng.random(n_rows, dtype=np.float32)
    values = rng.random(n_rows) * 10.0 ** rng.integers(-9, 9, n_rows)
    rows = block_rows(n_rows)
    cuts = [slice(start, start + 3 * rows) for start in range(0, n_rows, 3 * rows)]

    # when: one thread for the parts, several for the whole
    with Threads(1) as one, Threads(3) as three:
        products, lengths, total = np.zeros((14, 13)), np.zeros((2, 13)), np.zeros(1)
        for cut in cuts:
            part, weight = factors[cut], weights[cut]
            added_in_order(sums_by_block(len(part), rows, (14, 13), add_products(part, weight), one), products)
            added_in_order(sums_by_block(len(part), rows, (2, 13), add_squares(weight, part), one), lengths)
            added_in_order(value_sums(values[cut], rows, one), total)
        whole = gram(factors, weights, three)
        whole_lengths, whole_total = squares(weights, factors, three), sum_of_values(values, three)

    # then
    for mine, theirs in zip(gram_of(products), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(lengths, whole_lengths)
    assert total[0] == whole_total == pytest.approx(values.sum())


def test_many_wide_sums_are_added_some_at_a_time_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = np.random.default_rng(0).random((9000, 20), dtype=np.float32)
    weights = np.ones(9000, np.float32)
    with Threads(2) as threads:
        at_once = gram(factors, weights, threads)
        monkeypatch.setattr("timbral.models.engine.fixed_blocks.MAX_SUMS_BYTES", 8 * 21 * 20 * 4)
        in_fours = gram(factors, weights, threads)

    np.testing.assert_array_equal(at_once[0], in_fours[0])
    np.testing.assert_array_equal(at_once[1], in_fours[1])
