from __future__ import annotations

import numpy as np
import pytest

from timbral.models.neighbors.counted_plays import LEAST_ENTRY, counted

INDPTR = np.array([0, 3, 3, 4])


def test_a_rows_entries_are_powers_of_its_plays_by_the_root_of_their_mean_square() -> None:
    found = counted(INDPTR, np.array([1, 4, 16, 9], np.float32), 0.5)

    np.testing.assert_allclose(found, [*np.array([1, 2, 4]) / np.sqrt(21 / 3), 1], rtol=1e-6)


def test_plays_of_one_number_count_one_each_and_without_an_exponent_none_is_given() -> None:
    np.testing.assert_allclose(counted(INDPTR, np.full(4, 7, np.float32), 2.0), 1)
    assert len(counted(INDPTR, np.array([1, 4, 16, 9]), 0.0)) == 0


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan, 1e-38])
def test_what_is_no_play_counts_least_and_spoils_no_other(value: float) -> None:
    found = counted(INDPTR, np.array([value, 4, 4, 9]), 1.0)

    np.testing.assert_allclose(found, [LEAST_ENTRY, np.sqrt(1.5), np.sqrt(1.5), 1], rtol=1e-6)


@pytest.mark.parametrize("values", [[3e38, 1, 1, 1e-38], [np.inf, 1, 1, 0], [0, 0, 0, 0]])
def test_plays_beyond_all_measure_count_a_finite_number(values: list[float]) -> None:
    found = counted(INDPTR, np.array(values), 4.0)

    assert np.isfinite(found).all()
    assert (found >= np.float32(LEAST_ENTRY)).all()
