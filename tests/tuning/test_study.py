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
    {"confidence": FloatDistribution(0.1, 10.0, log=True), "regularization": FloatDistribution(0.0, 1.0)},
    {"confidence": 1.0, "regularization": 0.5},
)
TABLE = np.array([[[0.3, 0.5]], [[0.4, 0.2]]])
"""Of two folds, one λ and two γ."""


def begun(study: TrialStudy, chunk: int) -> tuple[Any, dict[str, Any]]:
    found = study.begin(chunk, SPACE)
    assert found is not None
    return found


def test_the_first_trials_are_the_defaults_and_one_setting_at_a_time_moved_from_them(client: redis.Redis) -> None:
    for _ in range(2):
        TrialStudy(client, "job").begin_with(SPACE)  # however often
    study = TrialStudy(client, "job", seed=1)

    first, *moved = (begun(study, chunk)[1] for chunk in range(5))

    assert first == SPACE.defaults
    assert [[name for name in one if one[name] != first[name]] for one in moved] == [
        ["confidence"], ["confidence"], ["regularization"], ["regularization"],
    ]  # fmt: skip
    assert moved[0]["confidence"] * moved[1]["confidence"] == pytest.approx(1.0)
    assert [one["regularization"] for one in moved[2:]] == pytest.approx([0.68, 0.32])


def test_moves_that_were_for_the_better_are_then_made_together(client: redis.Redis) -> None:
    study = TrialStudy(client, "job", seed=1)
    study.begin_with(SPACE)
    for chunk, quality in enumerate([0.3, 0.33, 0.28, 0.29, 0.32]):
        begun(study, chunk)[0].report(quality, 1)

    half, whole = (begun(study, chunk)[1] for chunk in (5, 6))

    assert whole["confidence"] > half["confidence"] > 1.0
    assert whole["regularization"] == pytest.approx(0.32)
    assert half["regularization"] == pytest.approx(0.41)


def test_a_trial_that_was_lost_with_its_worker_goes_on_with_its_settings_and_what_it_had_reported(
    client: redis.Redis,
) -> None:
    trial, settings = begun(TrialStudy(client, "job", seed=1), 3)
    trial.report(0.25, 1)

    again, same = begun(TrialStudy(client, "job", seed=2), 3)

    assert same == settings
    assert again.number == trial.number
    TrialStudy(client, "job").complete(again, TABLE)
    assert TrialStudy(client, "job").counts() == {"complete": 1, "pruned": 0, "failed": 0}
    ((best, table),) = TrialStudy(client, "job").best(3)
    assert best == settings
    assert (table == TABLE).all()
    assert TrialStudy(client, "job").best_quality() == pytest.approx(0.35)


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
    assert study.best(1) == []
    assert study.best_quality() is None
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
