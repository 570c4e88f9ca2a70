"""A fold judges one fit beside neighbours of many weights as if each had been fitted with the model."""

from __future__ import annotations

from typing import Any

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
WEIGHTS = NeighborWeights.around({"neighbor_weight": 0.4, "neighbor_regularization": 2.0})


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


def test_the_defaults_are_among_the_weights_though_they_leave_neighbours_out() -> None:
    for gamma in (0.0, 3.2):
        chosen = {"neighbor_weight": gamma, "neighbor_regularization": 3.0}

        weights = NeighborWeights.around(chosen)

        assert weights.of_defaults() == chosen
        assert max(weights.weights) > gamma
        assert NeighborWeights.read(weights.as_dict()) == weights


def test_of_many_users_so_many_are_judged_that_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbral.tuning.fold_judge.MOST_SAID", 500)
    fold = NestedSplit.of(interactions(), 0.2).folds[0]

    judge = FoldJudge(fold, WEIGHTS, n_neighbors=20, max_users=1_000, seed=1, n_threads=1)

    assert 1 <= len(judge._part.judged) < fold.train.shape[0]
    assert len(judge._sums.items) <= 500
