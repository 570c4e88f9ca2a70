"""One trial: settings, tried on more and more of the data for as long as they are among the better third.

The ladder has three rungs: a few sweeps on one fold (and of large data some users alone), all sweeps on that fold, all
sweeps on every fold. Successive halving prunes at each (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht,
Talwalkar: "A System for Massively Parallel Hyperparameter Tuning", 2020).
"""

from __future__ import annotations

from collections.abc import Callable
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
FIRST_SWEEPS: Final = 12
MAX_USERS: Final = 3_000
"""Judged in a fold."""


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

    def quality(parts: Parts, max_iter: int | None) -> float:
        check()
        model = NMFModel(max_iter=max_iter, **made)
        model.fit(parts.train, callback=lambda *_: check(), times=parts.times)
        return judged(model, parts, MAX_USERS).mean

    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    found: list[float] = []
    rungs: list[tuple[Parts, int | None]] = [(first_look(folds[0], 0), FIRST_SWEEPS), (folds[0], None)]
    for rung, (parts, max_iter) in enumerate(rungs):
        step = FIRST_STEP * REDUCTION**rung
        if step not in known:  # else a worker that was lost had come so far
            found.append(quality(parts, max_iter))
            trial.report(found[-1], step)
        if trial.should_prune():
            raise TrialPruned
    first = found[-1] if step not in known else known[step]
    return float(np.mean([first, *(quality(parts, None) for parts in folds[1:])]))
