"""A fold judges one fit beside neighbours of many weights as if each had been fitted with the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from taste import interactions

from timbral.models.nmf_model import NMFModel
from timbral.tuning.fold_judge import FoldJudge
from timbral.tuning.neighbor_weights import NeighborWeights
from timbral.tuning.nested_split import NestedSplit
from timbral.tuning.quality import judged

GIVEN: dict[str, Any] = {
    "n_components": 6, "random_state": 1, "max_iter": 4, "regularization": 0.5, "unobserved_weight": 0.2,
    "n_threads": 1,
}  # fmt: skip
CHOSEN = {"neighbor_weight": 0.4, "neighbor_regularization": 2.0}
WEIGHTS = NeighborWeights.around(CHOSEN, with_plays=False)


@pytest.mark.parametrize("with_times", [False, True])
def test_every_weight_is_judged_as_a_model_with_it_is(with_times: bool) -> None:
    fold = NestedSplit.of(interactions(with_times=with_times), 0.2).folds[0]
    rho = 0.1 if with_times else 0.0
    factors = NMFModel(**GIVEN, n_neighbors=0, recency_weight=0.0).fit(fold.train)

    table = FoldJudge(fold, WEIGHTS, n_neighbors=20, max_users=1_000, seed=1, n_threads=1).table(factors, rho)

    assert table.shape == (3, 17)
    for place in ((0, 0), WEIGHTS.defaults, (2, 12)):
        whole = NMFModel(
            **GIVEN,
            n_neighbors=20,
            neighbor_regularization=WEIGHTS.regularizations[place[0]],
            neighbor_weight=WEIGHTS.weights[place[1]],
            recency_weight=rho,
        ).fit(fold.train, times=fold.times)
        assert table[place] == pytest.approx(judged(whole, fold, 1_000).mean, rel=2e-3)


def test_plays_that_count_among_co_plays_are_judged_as_a_model_of_that_kind_is() -> None:
    fold = NestedSplit.of(interactions(), 0.2).folds[0]
    fold.train.data = np.random.default_rng(0).pareto(1.0, fold.train.nnz).astype(np.float32) + np.float32(1.0)
    factors = NMFModel(**GIVEN, n_neighbors=0, recency_weight=0.0).fit(fold.train)
    weights = NeighborWeights.around(CHOSEN, with_plays=True)

    table = FoldJudge(fold, weights, n_neighbors=20, max_users=1_000, seed=1, n_threads=1).table(factors, 0.0)

    assert table.shape == (4, 17)
    best_with_plays = np.where(np.arange(4)[:, None] == 3, table, 0.0)
    settings = weights.best(best_with_plays)
    assert settings["neighbor_play_exponent"] == 0.5
    assert settings["neighbor_regularization"] == CHOSEN["neighbor_regularization"]
    whole = NMFModel(**GIVEN, n_neighbors=20, recency_weight=0.0, **settings).fit(fold.train)
    assert best_with_plays.max() == pytest.approx(judged(whole, fold, 1_000).mean, rel=2e-3)
    assert best_with_plays.max() != pytest.approx(table[1, int(best_with_plays.argmax() % 17)], rel=1e-6)


def test_the_defaults_are_among_the_weights_though_they_leave_neighbours_out() -> None:
    for gamma in (0.0, 3.2):
        chosen = {"neighbor_weight": gamma, "neighbor_regularization": 3.0}

        for with_plays in (False, True):
            weights = NeighborWeights.around(chosen, with_plays=with_plays)

            assert weights.of_defaults() == chosen | ({"neighbor_play_exponent": 0.0} if with_plays else {})
            assert max(weights.weights) > gamma
            assert NeighborWeights.read(weights.as_dict()) == weights


def test_of_many_users_so_many_are_judged_that_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbral.tuning.fold_judge.MOST_SAID", 500)
    fold = NestedSplit.of(interactions(), 0.2).folds[0]

    judge = FoldJudge(fold, WEIGHTS, n_neighbors=20, max_users=1_000, seed=1, n_threads=1)

    assert 1 <= len(judge._part.judged) < fold.train.shape[0]
    assert len(judge._sums[0].items) <= 500
