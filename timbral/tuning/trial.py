"""One trial: settings, tried on more and more of the data for as long as they are among the better third.

The ladder has three rungs: a few sweeps on one fold, for some users, all sweeps on that fold, all
sweeps on every fold. Successive halving prunes at each (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht,
Talwalkar: "A System for Massively Parallel Hyperparameter Tuning", 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from optuna.exceptions import TrialPruned
from optuna.trial import Trial

from timbral.logic.split import Parts
from timbral.models.nmf_model import NMFModel
from timbral.tuning.nested_split import first_look
from timbral.tuning.quality import judged

__all__ = ["REDUCTION", "OutOfTimeError", "run_trial"]

REDUCTION: Final = 3
"""One of so many goes on from each rung to the next, which takes about so many times as long."""

FIRST_STEP: Final = 1
FIRST_SWEEPS: Final = 5
FIRST_USERS: Final = 1_000
MAX_USERS: Final = 3_000
"""Judged at a first look, and in a fold."""


class OutOfTimeError(Exception):
    """The budget is used up: what the trial has reported until now is all that there will be of it."""


def run_trial(
    trial: Trial, folds: tuple[Parts, ...], settings: dict[str, Any], check: Callable[[], None], n_threads: int | None
) -> float:
    """The mean quality of ``settings`` over the folds.

    Args:
        check: called with each sweep; raises to end the trial.

    Raises:
        TrialPruned: they are not among the better ones.
    """
    made: dict[str, Any] = {"recency_weight": 0.0, **settings, "n_threads": n_threads}

    def quality(parts: Parts, max_iter: int | None = None, max_users: int = MAX_USERS) -> float:
        check()
        model = NMFModel(max_iter=max_iter, **made)
        model.fit(parts.train, callback=lambda *_: check(), times=parts.times)
        return judged(model, parts, max_users).mean

    known = dict(trial.storage.get_trial(trial._trial_id).intermediate_values)
    rungs = [
        partial(quality, first_look(folds[0], 0), FIRST_SWEEPS, FIRST_USERS),
        partial(quality, folds[0]),
    ]
    for rung, look in enumerate(rungs):
        step = FIRST_STEP * REDUCTION**rung
        if step not in known:  # else a worker that was lost had come so far
            known[step] = look()
            trial.report(known[step], step)
        if trial.should_prune():
            raise TrialPruned
    return float(np.mean([known[step], *map(quality, folds[1:])]))
