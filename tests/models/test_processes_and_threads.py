"""Fits in child processes and side by side in threads."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from play_matrices import plays

from timbral.models.nmf_model import NMFModel


def _fit_in_child(seed: int) -> float:
    return NMFModel(6, seed, 5, n_threads=2).fit(plays(300, 200)).training_history[-1]


def test_a_child_of_a_process_that_has_fitted_can_fit() -> None:
    expected = _fit_in_child(1)

    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map_async(_fit_in_child, [1, 1, 1]).get(timeout=100)

    assert answers == [expected] * 3


def test_fits_side_by_side_in_threads_do_not_disturb_each_other() -> None:
    expected = [_fit_in_child(seed) for seed in (1, 2)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(_fit_in_child, [1, 2, 1, 2])) == expected * 2
