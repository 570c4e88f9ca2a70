from __future__ import annotations

import inspect
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from timbral.errors import MessageError
from timbral.messages import (
    MESSAGES,
    MODEL_OPTIONS,
    ComputeRecommendations,
    RefreshEmbeddings,
    TrainModel,
    read_message,
)
from timbral.models.nmf_model import NMFModel


@pytest.mark.parametrize(
    ("task", "arguments", "field"),
    [
        ("train_model", {"time_col": "at"}, "train_model"),
        ("train_model", {"dataset": "p.csv", "half_life_days": 30}, "train_model"),
        ("train_model", {"half_life_days": 0}, "half_life_days"),
        ("train_model", {"dataset": ""}, "dataset"),
        ("train_model", {"dataset": "../plays.csv"}, "dataset"),
        ("train_model", {"dataset": "a/../../plays.csv"}, "dataset"),
        ("train_model", {"dataset": "/etc/passwd"}, "dataset"),
        ("train_model", {"dataset": "s3://plays/../other/x.csv"}, "dataset"),
        ("train_model", {"dataset": "plays\0.csv"}, "dataset"),
        ("train_model", {"dataset": "p.csv", "holdout": 1.0}, "holdout"),
        ("train_model", {"dataset": "p.csv", "format": "pickle"}, "format"),
        ("train_model", {"dataset": "p.csv", "n_components": 0}, "n_components"),
        ("train_model", {"dataset": "p.csv", "user_col": "a", "item_col": "a"}, "train_model"),
        ("train_model", {"dataset": "p.csv", "datset": "q.csv"}, "datset"),
        ("compute_recommendations", {"user_ids": []}, "user_ids"),
        ("compute_recommendations", {"user_ids": [1.5]}, "user_ids.0"),
        ("compute_recommendations", {"user_ids": [True]}, "user_ids.0"),
        ("compute_recommendations", {"user_ids": [2**63]}, "user_ids.0"),
        ("compute_recommendations", {"user_ids": "everybody"}, "user_ids"),
        ("compute_recommendations", {"top_k": 0}, "top_k"),
        ("compute_recommendations", {"top_k": "ten"}, "top_k"),
        ("refresh_embeddings", {"plays": [{"user_id": 1}]}, "plays.0.item_id"),
        ("refresh_embeddings", {"plays": [{"user_id": 1, "item_id": 2, "plays": float("nan")}]}, "plays.0.plays"),
        ("refresh_embeddings", {"plays": [{"user_id": 1, "item_id": 2, "plays": -1}]}, "plays.0.plays"),
        ("refresh_embeddings", {"plays": [{"user_id": 1, "item_id": 2, "at": "2026-01-01T12:00:00"}]}, "plays.0.at"),
        ("refresh_embeddings", {"plays": [{"user_id": 1, "item_id": 2, "at": "2999-01-01T12:00:00Z"}]}, "plays.0.at"),
        ("refresh_embeddings", {"plays": [{"user_id": 1, "item_id": 2, "event_id": ""}]}, "plays.0.event_id"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(task: str, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(MessageError) as caught:
        read_message(MESSAGES[task], arguments)

    assert caught.value.args[0] == task
    assert any(problem["field"].startswith(field) for problem in caught.value.args[1]), caught.value.args


def test_every_wrong_argument_is_listed() -> None:
    with pytest.raises(MessageError) as caught:
        read_message(TrainModel, {"dataset": "../x", "holdout": 2, "max_iter": -1, "unknown": 1})

    assert {problem["field"] for problem in caught.value.args[1]} == {"dataset", "holdout", "max_iter", "unknown"}


def test_ids_keep_their_type_and_all_of_their_64_bits() -> None:
    message = read_message(ComputeRecommendations, {"user_ids": [1, "1", 2**63 - 1, -(2**63), "Ünïcode"]})

    assert message.kwargs() == {"user_ids": [1, "1", 2**63 - 1, -(2**63), "Ünïcode"]}


def test_what_was_left_at_its_default_is_not_sent() -> None:
    assert read_message(TrainModel, {"dataset": "plays.csv"}).kwargs() == {"dataset": "plays.csv"}


def test_a_sent_message_reads_the_same_at_the_other_end() -> None:
    message = read_message(RefreshEmbeddings, {"plays": [{"user_id": "u", "item_id": 2**40, "plays": 3}]})

    assert read_message(RefreshEmbeddings, message.kwargs()) == message


def test_an_error_shows_no_more_of_a_value_than_a_line() -> None:
    with pytest.raises(MessageError) as caught:
        read_message(TrainModel, {"dataset": "p.csv", "holdout": "x" * 10_000})

    assert len(str(caught.value)) < 400


def test_the_options_of_the_model_are_arguments_of_a_training() -> None:
    parameters = inspect.signature(NMFModel).parameters.values()
    options = {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY} - {"n_threads"}

    assert set(MODEL_OPTIONS) == options
    assert options <= set(TrainModel.model_fields)
    assert all(TrainModel.model_fields[name].default is None for name in options), "unset is NMFModel's own default"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "UTC"])
def test_now_is_said_in_utc_wherever_the_machine_stands(zone: str) -> None:
    code = "from timbral.messages import utc_now; print(utc_now())"
    before = datetime.now(UTC).replace(microsecond=0)

    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip().endswith("+00:00")
    assert before <= datetime.fromisoformat(ran.stdout.strip()) <= datetime.now(UTC)


def test_a_user_who_is_named_twice_is_one_user() -> None:
    message = read_message(ComputeRecommendations, {"user_ids": [7, "7", 7, 5]})

    assert message.user_ids == [7, "7", 5]
