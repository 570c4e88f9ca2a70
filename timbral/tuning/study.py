"""TrialStudy: the trials of one job, one for each of its chunks, whichever worker does it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import optuna
import redis
import structlog
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from timbral.tuning.journal import RedisJournal
from timbral.tuning.space import N_NEAR, Space
from timbral.tuning.trial import FIRST_STEP, REDUCTION
from timbral.tuning.trials import importances_of

__all__ = ["TrialStudy"]

logger = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 2
"""Times that a trial is begun: one that has ended its worker twice is not begun a third time."""

CHUNK: Final = "chunk"
ATTEMPT: Final = "attempt"


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
            sampler=TPESampler(seed=seed, n_startup_trials=N_NEAR),
            pruner=SuccessiveHalvingPruner(min_resource=FIRST_STEP, reduction_factor=REDUCTION),
        )

    def begin_with(self, space: Space) -> None:
        """Have the first trials try the defaults, so that what is found is never worse on the rows it is judged on, and
        what the space has to start from beside them."""
        for settings in space.starts():
            self._study.enqueue_trial(settings, skip_if_exists=True)

    def begin(self, chunk: int, space: Space) -> tuple[Trial, dict[str, Any]] | None:
        """The trial of a chunk, and its settings: a new one, or the one that was lost with its worker, which goes on;
        None where that has happened too often, or it is over."""
        lost = [trial for trial in self._trials() if trial.user_attrs.get(CHUNK) == chunk]
        if not lost:
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

    def complete(self, trial: Trial, quality: float) -> None:
        """The trial was judged on all folds."""
        self._study.tell(trial, quality)

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

    def best(self) -> tuple[dict[str, Any], float] | None:
        """The settings of the best trial of those that were judged on all folds, and its quality."""
        done = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
        best = max(done, key=lambda trial: float(trial.value or 0.0), default=None)
        return None if best is None else (dict(best.params), float(best.value or 0.0))

    def first(self) -> float | None:
        """The quality of the first trial, which is of the defaults; None while it is not judged on all folds."""
        trials = self._trials()
        return trials[0].value if trials and trials[0].state == TrialState.COMPLETE else None

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
