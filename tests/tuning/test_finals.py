"""The best trials are judged once more, where none of them has been chosen for being lucky."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from timbral.tuning.finals import final_settings
from timbral.tuning.neighbor_weights import NeighborWeights, Table
from timbral.tuning.space import Space

WEIGHTS = NeighborWeights.around({"neighbor_weight": 0.4, "neighbor_regularization": 2.0}, with_plays=False)
SPACE = Space(
    {"n_components": IntDistribution(1, 1_000, log=True), "confidence": FloatDistribution(0.1, 10.0, log=True)},
    {"n_components": 100, "confidence": 1.0},
)


def table(quality: float, place: tuple[int, int] = (1, 9), folds: int = 3) -> Table:
    made = np.zeros((folds, 3, 17))
    made[:, *place] = quality
    return made


def trial(n_components: int, quality: float, place: tuple[int, int] = (1, 9)) -> tuple[dict[str, Any], Table]:
    return {"n_components": n_components, "confidence": 1.0}, table(quality, place)


class FakeBench:
    """So many folds; what a finalist with so many components is worth is known beforehand, else it is worth nothing."""

    weights = WEIGHTS

    class nested:  # noqa: N801 - an attribute
        folds: tuple[int, ...]

    def __init__(
        self, qualities: dict[int, float], folds: int = 6, of_more_neighbors: float = 0.0, noise: float = 0.0
    ) -> None:
        self.qualities = qualities
        self.of_more_neighbors = of_more_neighbors
        self.noise = noise  # by which 10 components gain and lose, fold by fold
        self.asked: list[tuple[int, tuple[int, ...]]] = []
        self.nested.folds = tuple(range(folds))

    def table(self, settings: dict[str, Any], folds: Iterable[int], check: Any, max_iter: Any = None) -> Table:
        asked = tuple(folds)
        if "n_neighbors" in settings:
            return table(self.of_more_neighbors, (1, 9), len(asked))
        self.asked.append((settings["n_components"], asked))
        made = table(self.qualities.get(settings["n_components"], 0.0), (1, 9), len(asked))
        if settings["n_components"] == 10:
            made[:, 1, 9] += [self.noise * (-1) ** fold for fold in asked]
        return made

    def with_more_neighbors(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, "n_neighbors": 200}


def found(
    bench: FakeBench, best: list[tuple[dict[str, Any], Table]], *, defaults: Table | None = None, over: bool = False
) -> Any:
    return final_settings(best, defaults, bench, SPACE, lambda: over, lambda: None)  # type: ignore[arg-type]  # a stand-in for the bench


def test_the_luckiest_trial_loses_to_the_best_one_on_further_folds() -> None:
    bench = FakeBench({10: 0.1, 20: 0.3, 40: 0.2})

    best = found(bench, [trial(10, 0.9), trial(20, 0.5), trial(40, 0.4)])

    assert best["n_components"] == 20
    assert best["neighbor_weight"] == WEIGHTS.weights[9]
    assert best["neighbor_regularization"] == WEIGHTS.regularizations[1]
    # The middle of the three, and what is half way from there to the defaults, no trial was.
    assert bench.asked[:2] == [(20, (0, 1, 2)), (45, (0, 1, 2))]
    assert [fold for _, (fold, *_) in bench.asked[2:]] == [3] * 5 + [4] * 5 + [5] * 5


def test_a_fold_that_time_was_too_short_for_tells_nothing() -> None:
    bench = FakeBench({10: 0.1, 20: 0.3, 40: 0.2})
    looks = iter([False] * 9 + [True] * 99)  # the two made ones, five finalists on a fold, two of them on the next

    best = final_settings(
        [trial(10, 0.9), trial(20, 0.5), trial(40, 0.4)], None, bench, SPACE, lambda: next(looks), lambda: None
    )  # type: ignore[arg-type]  # a stand-in for the bench

    assert best is not None
    assert best["n_components"] == 20
    assert [fold for _, (fold, *_) in bench.asked[2:]] == [3] * 5 + [4] * 2


def test_what_the_best_trials_have_in_common_wins_where_it_is_better_than_each_of_them() -> None:
    bench = FakeBench({10: 0.1, 40: 0.2, 20: 0.3})

    best = found(bench, [trial(10, 0.5), trial(40, 0.4)])

    assert best["n_components"] == 20  # the middle of 10 and 40, by factors
    assert best["confidence"] == 1.0


def test_settings_half_way_from_the_middle_to_the_defaults_win_where_they_are_the_best() -> None:
    bench = FakeBench({10: 0.1, 40: 0.2, 20: 0.3, 45: 0.4})

    assert found(bench, [trial(10, 0.5), trial(40, 0.4)])["n_components"] == 45  # of 20 and 100, by factors


@pytest.mark.parametrize(("quality", "wins"), [(0.4, True), (0.2, False)])
def test_the_winner_has_twice_as_many_neighbours_where_these_gain(quality: float, wins: bool) -> None:
    bench = FakeBench({10: 0.3, 20: 0.1}, of_more_neighbors=quality)

    best = found(bench, [trial(10, 0.5), trial(20, 0.4)])

    assert best["n_components"] == 10
    assert best.get("n_neighbors") == (200 if wins else None)


def test_the_defaults_win_where_the_trials_were_lucky_and_the_weights_of_neighbours_are_theirs() -> None:
    bench = FakeBench({100: 0.3, 10: 0.1})

    best = found(bench, [trial(10, 0.5)], defaults=table(0.2, (1, 9)))

    assert best["n_components"] == 100
    assert best["neighbor_weight"] == WEIGHTS.weights[9]


@pytest.mark.parametrize(("noise", "wins"), [(0.0, 10), (0.2, 100)])
def test_other_settings_than_the_defaults_win_where_they_are_better_beyond_chance(noise: float, wins: int) -> None:
    bench = FakeBench({10: 0.4, 100: 0.3}, folds=7, noise=noise)

    assert found(bench, [trial(10, 0.5)], defaults=table(0.2, (1, 9)))["n_components"] == wins


def test_folds_that_go_back_in_time_have_no_further_ones_and_the_best_on_all_of_them_wins() -> None:
    bench = FakeBench({20: 0.3}, folds=3)

    assert found(bench, [trial(10, 0.5), trial(40, 0.4)])["n_components"] == 10


def test_without_time_the_best_trial_is_it_and_without_a_trial_there_is_none() -> None:
    trials = [trial(10, 0.5, (2, 4)), trial(20, 0.4, (2, 4)), trial(40, 0.3, (2, 4))]

    assert found(FakeBench({}), trials, over=True)["n_components"] == 10
    assert found(FakeBench({}), []) is None
