"""The best trials are judged once more, where none of them has been chosen for being lucky."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from timbral.tuning.finals import final_settings
from timbral.tuning.neighbor_weights import NeighborWeights, Table

WEIGHTS = NeighborWeights.around({"neighbor_weight": 0.4, "neighbor_regularization": 2.0})


def table(quality: float, place: tuple[int, int], folds: int = 3) -> Table:
    made = np.zeros((folds, 3, 17))
    made[:, *place] = quality
    return made


class FakeBench:
    """Six folds; a finalist's quality on the further ones is known beforehand."""

    weights = WEIGHTS

    class nested:  # noqa: N801 - an attribute
        folds = tuple(range(6))

    def __init__(self, qualities: list[float]) -> None:
        self.qualities = qualities
        self.asked: list[tuple[int, int]] = []

    def table(self, settings: dict[str, Any], folds: Iterable[int], check: Any, max_iter: Any = None) -> Table:
        (fold,) = folds
        self.asked.append((settings["n_components"], fold))
        return table(self.qualities[settings["n_components"]], (1, 9), 1)


def found(bench: FakeBench, finalists: list[tuple[dict[str, Any], Table]], *, over: bool = False) -> Any:
    return final_settings(finalists, bench, lambda settings: settings, lambda: over, lambda: None)


def test_the_luckiest_trial_loses_to_the_best_one_on_further_folds() -> None:
    bench = FakeBench([0.1, 0.3, 0.2])
    finalists = [({"n_components": n}, table(0.5 - n / 100, (1, 9))) for n in range(3)]

    best = found(bench, finalists)

    assert best["n_components"] == 1
    assert best["neighbor_weight"] == WEIGHTS.weights[9]
    assert best["neighbor_regularization"] == WEIGHTS.regularizations[1]
    assert bench.asked == [(0, 3), (1, 3), (2, 3), (1, 4), (2, 4)]  # half of them go on each time


def test_without_time_the_best_trial_is_it_and_without_a_trial_there_is_none() -> None:
    finalists = [({"n_components": n}, table(0.5 - n / 100, (2, 4))) for n in range(3)]

    assert found(FakeBench([]), finalists, over=True)["n_components"] == 0
    assert found(FakeBench([]), []) is None
