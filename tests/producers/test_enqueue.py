"""Enqueueing: what is checked, what is sent, and where to."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import threading
import typing
from typing import Any

import numpy as np
import pytest
import redis
from celery.backends.base import DisabledBackend
from pydantic_core import PydanticUndefined

import celeryconfig
import producers
from producers.connections import connections
from producers.erasure import enqueue_export_user
from timbral.errors import MessageError, ParameterError
from timbral.messages import MESSAGES
from timbral.stack.embedded_server import EmbeddedServer

FUNCTIONS = {
    "train_model": producers.enqueue_train_model,
    "tune_model": producers.enqueue_tune_model,
    "compute_recommendations": producers.enqueue_compute_recommendations,
    "refresh_embeddings": producers.enqueue_refresh_embeddings,
    "forget_users": producers.forget_users,
    "export_user": enqueue_export_user,
}


def sent(client: redis.Redis, queue: str) -> list[dict[str, Any]]:
    """The messages on a queue, oldest first, their bodies decoded."""
    import base64

    messages = [json.loads(raw) for raw in reversed(client.lrange(queue, 0, -1))]
    return [{**message, "body": json.loads(base64.b64decode(message["body"]))} for message in messages]


@pytest.mark.parametrize("task", MESSAGES)
def test_the_parameters_of_a_function_are_the_fields_of_its_message(task: str) -> None:
    parameters = inspect.signature(FUNCTIONS[task]).parameters
    fields = MESSAGES[task].model_fields
    assert list(parameters) == list(fields)
    for name, parameter in parameters.items():
        default = PydanticUndefined if parameter.default is parameter.empty else parameter.default
        assert default == fields[name].default
        assert type(default) is type(fields[name].default)
    hints = typing.get_type_hints(FUNCTIONS[task])
    assert hints["return"] is producers.Job
    for name, field in fields.items():
        if "Id" not in str(field.annotation) and name not in ("user_id", "user_ids", "plays", "allow", "exclude"):
            assert hints[name] == field.annotation, name


@pytest.mark.parametrize("task", MESSAGES)
def test_the_docstrings_say_every_argument_and_every_field_of_the_answer(task: str) -> None:
    from timbral.messages import ANSWERS

    text = FUNCTIONS[task].__doc__ or ""
    for name in MESSAGES[task].model_fields:
        assert f"\n        {name}: " in text, name
    for name in ANSWERS[task]:
        assert f"``{name}``" in text, name


def test_each_task_goes_to_its_queue_under_its_name_with_flat_keywords(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    training = producers.enqueue_train_model("plays.csv", separator="\t", n_components=8, random_state=0)
    batch = producers.enqueue_compute_recommendations(user_ids=(7, "7"), top_k=5)
    plays = [{"user_id": 1, "item_id": "a", "plays": 2}, producers.Play(user_id=1, item_id=3)]
    refresh = producers.enqueue_refresh_embeddings(plays=plays)
    (message,) = sent(client, "training")
    assert message["headers"]["task"] == "train_model"
    assert message["headers"]["id"] == training.id
    assert message["body"][1] == {"dataset": "plays.csv", "separator": "\t", "n_components": 8, "random_state": 0}
    first, second = sent(client, "celery")
    assert (first["headers"]["task"], first["headers"]["id"]) == ("compute_recommendations", batch.id)
    assert first["body"][1] == {"user_ids": [7, "7"], "top_k": 5}
    assert (second["headers"]["task"], second["headers"]["id"]) == ("refresh_embeddings", refresh.id)
    assert [play["item_id"] for play in second["body"][1]["plays"]] == ["a", 3]
    tuning = producers.enqueue_tune_model("plays.csv", trials=8)
    assert sent(client, "training")[-1]["body"][1] == {"dataset": "plays.csv", "trials": 8}
    assert {training.task, batch.task, refresh.task, tuning.task} == set(MESSAGES) - {"forget_users", "export_user"}
    assert not first["headers"]["ignore_result"]


def test_ids_from_numpy_and_from_generators_are_sent_as_plain_numbers(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    producers.enqueue_compute_recommendations(user_ids=np.arange(3))
    producers.enqueue_compute_recommendations(user_ids=(np.int64(i) for i in (2**62, 5)))
    producers.enqueue_refresh_embeddings(
        plays=[{"user_id": np.int64(1), "item_id": np.int32(2), "plays": np.float32(3)}]
    )
    bodies = [message["body"][1] for message in sent(client, "celery")]
    assert bodies[0]["user_ids"] == [0, 1, 2]
    assert bodies[1]["user_ids"] == [2**62, 5]
    assert bodies[2]["plays"] == [{"user_id": 1, "item_id": 2, "plays": 3.0}]


WRONG: dict[str, tuple[Any, str]] = {
    "a parent folder": (lambda: producers.enqueue_train_model("../etc/passwd"), "dataset"),
    "an absolute path": (lambda: producers.enqueue_train_model("/etc/passwd"), "dataset"),
    "no factors": (lambda: producers.enqueue_train_model("a.csv", n_components=0), "n_components"),
    "one column twice": (lambda: producers.enqueue_train_model("a.csv", user_col="x", item_col="x"), "differ"),
    "no users": (lambda: producers.enqueue_compute_recommendations(user_ids=[]), "user_ids"),
    "a float id": (lambda: producers.enqueue_compute_recommendations(user_ids=[1.5]), "user_ids.0"),
    "a numpy float id": (lambda: producers.enqueue_compute_recommendations(user_ids=np.array([1.0])), "user_ids.0"),
    "a boolean id": (lambda: producers.enqueue_compute_recommendations(user_ids=[True]), "user_ids.0"),
    "a string for a list": (lambda: producers.enqueue_compute_recommendations(user_ids="abc"), "user_ids"),
    "a 65-bit id": (lambda: producers.enqueue_compute_recommendations(user_ids=[2**64]), "user_ids.0"),
    "negative plays": (
        lambda: producers.enqueue_refresh_embeddings(plays=[{"user_id": 1, "item_id": 1, "plays": -1}]),
        "plays.0.plays",
    ),
    "a play without item": (lambda: producers.enqueue_refresh_embeddings(plays=[{"user_id": 1}]), "plays.0.item_id"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    name: str, connected: EmbeddedServer, client: redis.Redis
) -> None:
    call, said = WRONG[name]
    with pytest.raises(MessageError, match=said) as raised:
        call()
    assert isinstance(raised.value, ParameterError)
    assert isinstance(raised.value, ValueError)
    assert client.dbsize() == 0


def test_every_wrong_argument_is_listed_at_once() -> None:
    with pytest.raises(MessageError) as raised:
        producers.enqueue_train_model("/a.csv", n_components=0, holdout=2.0)
    assert [problem["field"] for problem in raised.value.args[1]] == ["dataset", "n_components", "holdout"]


def test_what_was_sent_is_noted_until_its_effect_is_there(connected: EmbeddedServer, client: redis.Redis) -> None:
    job = producers.enqueue_train_model("plays.csv")
    note = json.loads(client.hget("tasks:submitted", job.id))
    assert note["task"] == "train_model"
    assert note["kwargs"] == {"dataset": "plays.csv"}
    assert note["queue"] == "training"
    assert note["at"] > 1_700_000_000


def test_a_hundred_tasks_leave_no_subscription_and_a_handful_of_connections(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    others = {one["id"] for one in client.client_list()}  # of whatever else has used the shared server
    for _ in range(100):
        producers.enqueue_refresh_embeddings(user_ids=[1]).state  # noqa: B018 - reading it asks
    clients = [one for one in client.client_list() if one["id"] not in others]
    assert sum(int(c["sub"]) + int(c["psub"]) for c in clients) == 0
    assert 1 <= len(clients) <= 4
    assert client.llen("celery") == 100


def test_threads_share_a_bounded_pool(connected: EmbeddedServer, client: redis.Redis) -> None:
    ids: list[str] = []
    others = {one["id"] for one in client.client_list()}

    def work() -> None:
        ids.extend(producers.enqueue_refresh_embeddings(user_ids=[1]).id for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 240
    assert {message["headers"]["id"] for message in sent(client, "celery")} == set(ids)
    # Two for each of the ten that publish, and as many as there are threads to note what was sent.
    assert 0 < len({one["id"] for one in client.client_list()} - others) <= 20 + 24


def test_a_forked_child_has_connections_of_its_own(connected: EmbeddedServer, client: redis.Redis) -> None:
    producers.enqueue_refresh_embeddings(user_ids=[1])
    producers.get_recommendations(1)
    child = os.fork()
    if child == 0:
        try:
            for _ in range(20):
                producers.enqueue_refresh_embeddings(user_ids=[2])
                producers.get_recommendations(1)
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(20):
        producers.enqueue_refresh_embeddings(user_ids=[1])
    assert os.waitpid(child, 0)[1] == 0
    producers.enqueue_refresh_embeddings(user_ids=[1])
    assert len(sent(client, "celery")) == 42


def test_from_asyncio_through_a_thread(connected: EmbeddedServer, client: redis.Redis) -> None:
    async def app() -> list[producers.Job]:
        calls = (asyncio.to_thread(producers.enqueue_refresh_embeddings, user_ids=[i]) for i in range(20))
        return await asyncio.gather(*calls)

    jobs = asyncio.run(app())
    assert len({job.id for job in jobs}) == client.llen("celery") == 20


def test_close_lets_the_connections_go_and_the_next_call_opens_new_ones(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    others = {one["id"] for one in client.client_list()}
    producers.enqueue_refresh_embeddings(user_ids=[1])
    producers.get_recommendations(1)
    mine = {one["id"] for one in client.client_list()} - others
    assert mine
    producers.close()
    assert not mine & {one["id"] for one in client.client_list()}
    producers.enqueue_refresh_embeddings(user_ids=[1])
    assert client.llen("celery") == 2


def test_the_queue_is_opened_with_the_fleets_own_options(connected: EmbeddedServer) -> None:
    # The shortest visibility timeout of all who open the queue wins: a producer with another one would have tasks run
    # twice.
    conf = connections().broker.app.conf
    fleet = celeryconfig.broker_transport_options
    waits = {"socket_timeout", "socket_connect_timeout"}
    ours = conf.broker_transport_options
    assert {k: v for k, v in ours.items() if k not in waits} == {k: v for k, v in fleet.items() if k not in waits}
    assert all(ours[name] <= fleet[name] for name in waits)
    assert isinstance(connections().broker.app.backend, DisabledBackend)
    for name in ("task_routes", "task_default_queue", "task_serializer", "accept_content"):
        assert getattr(conf, name) == getattr(celeryconfig, name)
    assert [queue.name for queue in conf.task_queues] == [queue.name for queue in celeryconfig.task_queues]


def test_an_app_with_a_celeryconfig_of_its_own_disturbs_nothing(
    redis_server: EmbeddedServer, tmp_path: Any, client: redis.Redis
) -> None:
    import subprocess
    import sys

    (tmp_path / "celeryconfig.py").write_text("broker_url = 'redis://127.0.0.1:2'\ntask_default_queue = 'theirs'\n")
    code = (
        "import celeryconfig, celery, producers\n"
        "theirs = celery.Celery('theirs'); theirs.config_from_object('celeryconfig')\n"
        "producers.enqueue_compute_recommendations()\n"
        "assert celery.current_app is theirs or celery.current_app.main == 'theirs'\n"
        "assert theirs.conf.task_default_queue == 'theirs'\n"
    )
    environment = {**os.environ, "REDIS_URL": redis_server.url}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert client.llen("celery") == 1
