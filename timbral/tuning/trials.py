"""The trials of a search as its journal has them, for whoever looks: nothing here begins, ends or writes anything."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any, Final, NamedTuple

import optuna
import redis
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from timbral.tuning.journal import RedisJournal
from timbral.tuning.trial import FIRST_STEP

__all__ = ["TrialRow", "importances_of", "read_trials"]

optuna.logging.set_verbosity(logging.WARNING)  # it tells of each study that is only looked at

LEAST_TRIALS: Final = 10
"""Of which something can be said of what mattered."""
MAX_STORAGES: Final = 8
STATES: Final = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}

_storages: OrderedDict[tuple[int, str], JournalStorage] = OrderedDict()
_lock = threading.Lock()


class TrialRow(NamedTuple):
    """One trial.

    Attributes:
        number: from 0 on; the first is of the defaults.
        state: complete, pruned, failed or running.
        quality: mean of recall@20 and NDCG@20 over all folds; None where it was not judged on all of them.
        first_look: the same at its first look, on a part of the users; None before it.
        settings: what it tried.
    """

    number: int
    state: str
    quality: float | None
    first_look: float | None
    settings: dict[str, Any]


def read_trials(client: redis.Redis, job_id: str) -> tuple[list[TrialRow], dict[str, float]]:
    """The trials that have begun, by number, and what mattered until now (``importances_of``); none where the journal
    has expired, or has not begun."""
    try:
        study = optuna.load_study(study_name=job_id, storage=_storage(client, job_id))
    except KeyError:
        return [], {}
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state in STATES]
    return [_row(trial) for trial in trials], importances_of(trials)


def _storage(client: redis.Redis, job_id: str) -> JournalStorage:
    # A storage keeps what it has read, and the next look reads only the lines since.
    with _lock:
        key = (id(client), job_id)
        known = _storages.pop(key, None)
        storage = known or JournalStorage(RedisJournal(client, job_id))
        _storages[key] = storage
        while len(_storages) > MAX_STORAGES:
            _storages.popitem(last=False)
        return storage


def _row(trial: FrozenTrial) -> TrialRow:
    quality = float(trial.value) if trial.state == TrialState.COMPLETE and trial.value is not None else None
    first = trial.intermediate_values.get(FIRST_STEP)
    return TrialRow(
        trial.number, STATES[trial.state], quality, None if first is None else float(first), dict(trial.params)
    )


def importances_of(trials: list[FrozenTrial]) -> dict[str, float]:
    """Share that each setting has in what made trials differ at their first look, which all of them had; the greatest
    first. Empty where there are too few to tell.

    PED-ANOVA (Watanabe, Bansal, Hutter: "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces", 2023).
    """
    looked_at = [trial for trial in trials if FIRST_STEP in trial.intermediate_values]
    if len(looked_at) < LEAST_TRIALS:
        return {}
    looks = optuna.create_study(direction="maximize")
    looks.add_trials(
        [
            create_trial(
                params=trial.params,
                distributions=trial.distributions,
                value=trial.intermediate_values[FIRST_STEP],
            )
            for trial in looked_at
        ]
    )
    return {name: float(share) for name, share in optuna.importance.get_param_importances(looks).items()}
