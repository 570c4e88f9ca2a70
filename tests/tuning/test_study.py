"""A search's trials: each ends once, whatever becomes of the workers that do them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis
from optuna.distributions import FloatDistribution

from timbral import keys
from timbral.tuning.space import Space
from timbral.tuning.study import TrialStudy

SPACE = Space(
    {"neighbor_weight": FloatDistribution(0.01, 60.0, log=True), "regularization": FloatDistribution(0.0, 1.0)},
    {"neighbor_weight": 0.1, "regularization": 0.5},
)


def begun(study: TrialStudy, chunk: int) -> tuple[Any, dict[str, Any]]:
    found = study.begin(chunk, SPACE)
    assert found is not None
    return found


def test_the_first_trial_tries_the_defaults_however_often_they_are_put_there(client: redis.Redis) -> None:
    for _ in range(2):
        TrialStudy(client, "job").begin_with(SPACE)
    study = TrialStudy(client, "job", seed=1)

    first, *others = (begun(study, chunk)[1] for chunk in range(20))

    assert first == SPACE.defaults
    assert [one["neighbor_weight"] for one in others[:2]] == [0.3, 2.0]
    near = [one["regularization"] for one in others[2:18]]
    assert len(set(near)) == 16
    assert 0.05 < np.std(near) < 0.25
    assert all(0.0 <= one["regularization"] <= 1.0 for one in others)


def test_a_trial_that_was_lost_with_its_worker_goes_on_with_its_settings_and_what_it_had_reported(
    client: redis.Redis,
) -> None:
    trial, settings = begun(TrialStudy(client, "job", seed=1), 3)
    trial.report(0.25, 1)

    again, same = begun(TrialStudy(client, "job", seed=2), 3)

    assert same == settings
    assert again.number == trial.number
    TrialStudy(client, "job").complete(again, 0.5)
    assert TrialStudy(client, "job").counts() == {"complete": 1, "pruned": 0, "failed": 0}
    assert TrialStudy(client, "job").best() == (settings, 0.5)


def test_a_trial_that_ends_its_worker_twice_has_failed_and_is_not_begun_again(client: redis.Redis) -> None:
    for seed in range(2):
        begun(TrialStudy(client, "job", seed=seed), 3)

    assert TrialStudy(client, "job").begin(3, SPACE) is None
    assert TrialStudy(client, "job").begin(3, SPACE) is None  # nor when its message comes once more
    assert TrialStudy(client, "job").counts() == {"complete": 0, "pruned": 0, "failed": 1}


def test_a_trial_that_is_cut_off_counts_as_pruned_where_it_has_reported_and_else_as_failed(
    client: redis.Redis,
) -> None:
    study = TrialStudy(client, "job", seed=1)
    (reported, _), (silent, _), _ = (begun(study, chunk) for chunk in range(3))
    reported.report(0.25, 1)

    study.prune(reported)
    study.prune(silent)
    study.close()  # the third was lost

    assert study.counts() == {"complete": 0, "pruned": 1, "failed": 2}
    assert study.best() is None
    assert study.importances() == {}


def test_what_makes_trials_differ_is_what_mattered(client: redis.Redis) -> None:
    study = TrialStudy(client, "job", seed=1)
    for chunk in range(30):
        trial, settings = begun(study, chunk)
        trial.report(settings["regularization"], 1)
        study.prune(trial)  # the first look tells, wherever the trial ended

    shares = study.importances()

    assert next(iter(shares)) == "regularization"
    assert sum(shares.values()) == pytest.approx(1.0)


def test_the_trials_of_a_job_are_kept_no_longer_than_its_answer(client: redis.Redis) -> None:
    begun(TrialStudy(client, "job", seed=1), 0)

    assert 0 < client.ttl(keys.tuning_journal("job")) <= 86_400
