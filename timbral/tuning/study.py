"""TrialStudy: the trials of one job, one for each of its chunks, whichever worker does it."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from typing import Any, Final

import numpy as np
import optuna
import redis
import structlog
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from timbral.tuning.journal import RedisJournal
from timbral.tuning.neighbor_weights import Table
from timbral.tuning.space import Space
from timbral.tuning.trial import FIRST_STEP, REDUCTION
from timbral.tuning.trials import importances_of

__all__ = ["TrialStudy"]

logger = structlog.get_logger(__name__)

optuna.logging.set_verbosity(logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

MAX_ATTEMPTS: Final = 2
"""Times that a trial is begun: one that has ended its worker twice is not begun a third time."""

CHUNK: Final = "chunk"
ATTEMPT: Final = "attempt"
TABLE: Final = "table"


class TrialStudy:
    """The study of the job ``job_id``.

    Args:
        seed: of the sampler; every process draws other trials.
    """

    def __init__(self, redis_client: redis.Redis, job_id: str, seed: int = 0) -> None:
        self._study = optuna.create_study(
            study_name=job_id,
            storage=JournalStorage(RedisJournal(redis_client, job_id)),
            direction="maximize",
            load_if_exists=True,
            # Settings depend on each other, and several processes ask at once.
            sampler=TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True),
            pruner=SuccessiveHalvingPruner(min_resource=FIRST_STEP, reduction_factor=REDUCTION),
        )

    def begin_with(self, space: Space) -> None:
        """Have the first trials try what ``space`` starts with, the defaults before all others."""
        for settings in space.starts()[len(self._trials()) :]:
            self._study.enqueue_trial(settings)

    def begin(self, chunk: int, space: Space) -> tuple[Trial, dict[str, Any]] | None:
        """The trial of a chunk, and its settings: a new one, or the one that was lost with its worker, which goes on;
        None where that has happened too often, or it is over."""
        lost = [trial for trial in self._trials() if trial.user_attrs.get(CHUNK) == chunk]
        if not lost:
            if chunk == len(space.starts()):
                for settings in space.combined(self._first_looks(chunk)):
                    self._study.enqueue_trial(settings)
            trial = self._study.ask()
            trial.set_user_attr(CHUNK, chunk)
            return trial, space.suggest(trial)
        known = lost[-1]
        if known.state.is_finished():
            return None
        attempt = int(known.user_attrs.get(ATTEMPT, 1)) + 1
        if attempt > MAX_ATTEMPTS:
            self._study.tell(known.number, state=TrialState.FAIL)
            logger.warning("trial given up", trial=known.number, settings=known.params)
            return None
        trial = Trial(self._study, known._trial_id)
        trial.set_user_attr(ATTEMPT, attempt)
        logger.warning("trial goes on after its worker was lost", trial=known.number, attempt=attempt)
        return trial, space.suggest(trial)

    def complete(self, trial: Trial, table: Table) -> None:
        """The trial was judged on all folds: ``table`` (folds, λ, γ)."""
        trial.set_user_attr(TABLE, table.tolist())
        self._study.tell(trial, float(table.mean(axis=0).max()))

    def prune(self, trial: Trial) -> None:
        """The trial was ended early; what it has reported counts. One that has reported nothing has failed."""
        reported = self._study._storage.get_trial(trial._trial_id).intermediate_values
        self._study.tell(trial, state=TrialState.PRUNED if reported else TrialState.FAIL)

    def fail(self, trial: Trial) -> None:
        """The trial has no result."""
        self._study.tell(trial, state=TrialState.FAIL)

    def close(self) -> None:
        """No trial runs any more: those that were lost between two steps have failed."""
        for trial in self._trials():
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def best(self, n: int) -> list[tuple[dict[str, Any], Table]]:
        """The settings of the ``n`` best trials of those that were judged on all folds, and their tables; the best
        first."""
        done = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
        done.sort(key=lambda trial: (-float(trial.value or 0.0), trial.number))
        return [(dict(trial.params), np.asarray(trial.user_attrs[TABLE])) for trial in done[:n]]

    def best_quality(self) -> float | None:
        """Of the best trial; None where none was judged on all folds."""
        best = self.best(1)
        return float(best[0][1].mean(axis=0).max()) if best else None

    def first(self) -> Table | None:
        """The table of the first trial, which is of the defaults; None while it is not judged on all folds."""
        trials = self._trials()
        is_done = bool(trials) and trials[0].state == TrialState.COMPLETE
        return np.asarray(trials[0].user_attrs[TABLE]) if is_done else None

    def _first_looks(self, n: int) -> list[float | None]:
        return [trial.intermediate_values.get(FIRST_STEP) for trial in self._trials()[:n]]

    def counts(self) -> dict[str, int]:
        """How many trials ended how: ``complete``, ``pruned``, ``failed``."""
        found = Counter(trial.state for trial in self._trials())
        return {
            "complete": found[TrialState.COMPLETE],
            "pruned": found[TrialState.PRUNED],
            "failed": found[TrialState.FAIL],
        }

    def importances(self) -> dict[str, float]:
        """What made trials differ: ``importances_of`` all of them."""
        return importances_of(self._trials())

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)
