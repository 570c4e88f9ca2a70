"""Trainings with settings "tuned" use what a search has kept, and say so."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from timbral.errors import ParameterError
from timbral.messages import TrainModel
from timbral.tuning.kept_settings import KeptSettings

FOUND: dict[str, Any] = {
    "job_id": "j1",
    "tuned_at": "2026-01-01T00:00:00+00:00",
    "outcome": "better",
    "reason": "+2 %",
    "settings": {"n_components": 64, "regularization": 0.2, "neighbor_weight": 1.5},
    "importances": {"regularization": 1.0},
}


def test_kept_settings_fill_in_what_the_message_leaves_open(client: redis.Redis) -> None:
    kept = KeptSettings(client)
    kept.keep("plays.csv", FOUND)

    message, said = kept.applied(TrainModel(dataset="plays.csv", settings="tuned", regularization=0.7))

    assert (message.n_components, message.regularization, message.neighbor_weight) == (64, 0.7, 1.5)
    assert said is not None
    assert said["settings"] == {"n_components": 64, "neighbor_weight": 1.5}
    assert (said["job_id"], said["outcome"]) == ("j1", "better")
    assert message.kwargs()["n_components"] == 64  # trainings with other settings are other trainings


def test_a_training_that_does_not_ask_for_them_gets_the_defaults(client: redis.Redis) -> None:
    kept = KeptSettings(client)
    kept.keep(None, FOUND)

    assert kept.applied(TrainModel()) == (TrainModel(), None)


@pytest.mark.parametrize(
    ("message", "named"),
    [(TrainModel(settings="tuned"), "timbral tune "), (TrainModel(dataset="b.csv", settings="tuned"), "tune b.csv ")],
)
def test_settings_that_nobody_has_searched_are_refused_with_how_to(
    client: redis.Redis, message: TrainModel, named: str
) -> None:
    KeptSettings(client).keep("a.csv", FOUND)

    with pytest.raises(ParameterError, match=named):
        KeptSettings(client).applied(message)
