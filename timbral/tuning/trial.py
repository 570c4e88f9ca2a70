"""One trial: settings of the factors, tried on more and more of the data for as long as they are among the better
third. What neighbours weigh beside them is chosen for each trial, on its own fits.

The ladder has three rungs: a few sweeps on one fold, for some users, all sweeps on that fold, all
sweeps on every fold. Successive halving prunes at each (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht,
Talwalkar: "A System for Massively Parallel Hyperparameter Tuning", 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from optuna.exceptions import TrialPruned
from optuna.trial import Trial

from timbral.logic.split import Parts
from timbral.models.nmf_model import NMFModel
from timbral.tuning.fold_judge import FoldJudge
from timbral.tuning.neighbor_weights import NeighborWeights, Table
from timbral.tuning.nested_split import N_FOLDS, NestedSplit, aged, first_look

__all__ = ["FIRST_STEP", "REDUCTION", "Bench", "OutOfTimeError", "run_trial"]

REDUCTION: Final = 3
"""One of so many goes on from each rung to the next, which takes about so many times as long."""

FIRST_STEP: Final = 1
FIRST_SWEEPS: Final = 10
FIRST_USERS: Final = 2_000
MAX_USERS: Final = 3_000
"""Judged at a first look, and in a fold."""

LOOK: Final = -1
"""The fold of a first look."""


class OutOfTimeError(Exception):
    """The budget is used up: what the trial has reported until now is all that there will be of it."""


class Bench:
    """Where a process judges settings: on the folds of one split, each held out by a judge that is made once."""

    def __init__(
        self, nested: NestedSplit, weights: NeighborWeights, random_state: int | None, n_threads: int | None
    ) -> None:
        self.nested = nested
        self.weights = weights
        self._made: dict[str, Any] = {"random_state": random_state, "n_threads": n_threads}
        self._n_neighbors = NMFModel(**self._made).parts.n_neighbors
        self._judges: dict[tuple[int, int], FoldJudge] = {}

    def table(
        self, settings: dict[str, Any], folds: Iterable[int], check: Callable[[], None], max_iter: int | None = None
    ) -> Table:
        """The quality of ``settings`` by λ and γ, each fold's on a line of its own: (folds, λ, γ).

        Args:
            check: called with each sweep; raises to end it.
        """
        return np.stack([self._one(settings, fold, check, max_iter) for fold in folds])

    def _one(self, settings: dict[str, Any], number: int, check: Callable[[], None], max_iter: int | None) -> Table:
        check()
        made = dict(settings)
        judge = self._judge(number, made.pop("n_neighbors", self._n_neighbors))
        recency_weight, half_life_days = made.pop("recency_weight", 0.0), made.pop("half_life_days", None)
        fold = aged(judge.fold, half_life_days)
        # By its default α₀ goes with the density; settings are those for all but the outer part.
        made["unobserved_weight"] = min(1.0, made["unobserved_weight"] * _density(fold) / _density(self.nested.outer))
        model = NMFModel(max_iter=max_iter, n_neighbors=0, recency_weight=0.0, **made, **self._made)
        model.fit(fold.train, callback=lambda *_: check(), times=fold.times)
        return judge.table(model, recency_weight)

    def with_more_neighbors(self, settings: dict[str, Any]) -> dict[str, Any]:
        """``settings``, of a model in which twice as many neighbours speak for an item."""
        return {**settings, "n_neighbors": 2 * self._n_neighbors}

    def _judge(self, number: int, n_neighbors: int) -> FoldJudge:
        place = number, n_neighbors
        if place not in self._judges:
            model = NMFModel(**self._made)
            fold, users = self.nested.folds[max(number, 0)], MAX_USERS
            if number == LOOK:
                fold, users = first_look(fold, 0), FIRST_USERS
            options = self.weights, n_neighbors, users, model.random_state, self._made["n_threads"]
            self._judges[place] = FoldJudge(fold, *options)
        return self._judges[place]


def run_trial(trial: Trial, bench: Bench, settings: dict[str, Any], check: Callable[[], None]) -> Table:
    """The quality of ``settings`` by fold, λ and γ.

    Raises:
        TrialPruned: they are not among the better ones.
    """
    known = dict(trial.storage.get_trial(trial._trial_id).intermediate_values)
    tables: list[Table] = []
    for rung, (fold, sweeps) in enumerate(((LOOK, FIRST_SWEEPS), (0, None))):
        step = FIRST_STEP * REDUCTION**rung
        if step not in known:  # else a worker that was lost had come so far
            tables.append(bench.table(settings, [fold], check, sweeps))
            trial.report(float(tables[-1].max()), step)
        if trial.should_prune():
            raise TrialPruned
    first = tables[-1] if step not in known else bench.table(settings, [0], check)
    return np.concatenate([first, bench.table(settings, range(1, N_FOLDS), check)])


def _density(parts: Parts) -> float:
    return float(parts.train.nnz) / parts.train.shape[0]
