"""The three tasks through a real worker process: what they write, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from fleet_fixtures import Fleet, Watch
from taste import history, write_history

from timbral.embedded_server import EmbeddedServer
from timbral.utils import plain_pickle

pytestmark = pytest.mark.integration


class App:
    """An app that does not have our code: bare ``send_task``."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        url = f"{fleet.server.url}/0"
        self.celery = Celery("stranger", broker=url, backend=url, set_as_current=False)
        self.celery.conf.broker_transport_options = {"visibility_timeout": 4}

    def call(self, task: str, **kwargs: Any) -> Any:
        return self.celery.send_task(task, kwargs=kwargs).get(timeout=40)

    def send(self, task: str, **kwargs: Any) -> Any:
        return self.celery.send_task(task, kwargs=kwargs)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with EmbeddedServer(append_only=False) as server:
        fleet = Fleet(server, directory)
        write_history(fleet.data_dir / "plays.csv", history())
        fleet.start(concurrency=2, environment={"CHUNK_SIZE": "25"})
        made = App(fleet)
        try:
            made.call("train_model", dataset="plays.csv")
            yield made
        finally:
            made.celery.close()
            fleet.close()


@pytest.fixture
def cache(app: App) -> Iterator[redis.Redis]:
    with app.fleet.server.client() as client:
        yield client


def recommended(cache: redis.Redis, user_id: object) -> list[Any]:
    return [entry["item_id"] for entry in json.loads(cache.get(f"recommendations:user:{user_id}") or "null")]


def test_a_training_answers_with_its_version_metrics_and_baseline_and_goes_live(app: App, cache: redis.Redis) -> None:
    answer = app.call("train_model", dataset="plays.csv", random_state=7, promote="always")

    assert answer["promoted"] is True
    assert cache.get("model:current").decode() == answer["model_version"]
    assert (answer["n_users"], answer["n_items"], answer["n_interactions"]) == (120, 80, 1200)
    assert answer["metrics"]["recall@20"] > 2 * answer["baseline"]["recall@20"]
    assert {"read", "evaluate", "fit", "write"} <= set(answer["durations_s"])
    assert (app.fleet.model_dir / f"{answer['model_version']}.safetensors").is_file()


def test_everybody_is_done_in_chunks_and_the_answer_counts_them(app: App, cache: redis.Redis) -> None:
    cache.delete("nothing", *cache.keys("recommendations:*"))
    with Watch(app.fleet.server) as watch:
        answer = app.call("compute_recommendations", top_k=5)
        chunks = watch.executions_by_name()["compute_chunk"]

    assert (answer["users_done"], answer["users_unknown"]) == (120, 0)
    assert len(cache.keys("recommendations:user:*")) == 120
    assert chunks == 5
    for user in (1000, 1001, 1002, 1003):
        assert {item // 100 for item in recommended(cache, user)} == {user % 4}
    assert 0 < cache.ttl("recommendations:user:1000") <= 21_600
    assert len(json.loads(cache.get("recommendations:popular"))) == 5
    assert cache.zcard("jobs:open") == 0


def test_named_listeners_are_done_in_place_and_strangers_are_counted(app: App, cache: redis.Redis) -> None:
    cache.delete("nothing", *cache.keys("recommendations:*"))

    answer = app.call("compute_recommendations", user_ids=[1000, 1001, 999_999], top_k=3)

    assert (answer["users_done"], answer["users_unknown"]) == (2, 1)
    assert len(recommended(cache, 1000)) == 3
    assert not cache.exists("recommendations:user:999999")


def test_a_refresh_of_everything_writes_both_tables(app: App, cache: redis.Redis) -> None:
    answer = app.call("refresh_embeddings")

    users = plain_pickle.loads(cache.get("embeddings:user_embeddings"))
    items = plain_pickle.loads(cache.get("embeddings:item_embeddings"))
    assert (answer["users"], answer["items"]) == (120, 80)
    assert users["factors"].shape == (120, 8)
    assert list(users["ids"]) == list(range(1000, 1120))
    assert items["factors"].shape == (80, 8)
    assert items["model_version"] == answer["model_version"]


def test_plays_of_a_new_listener_are_folded_in_and_change_what_is_recommended(app: App, cache: redis.Redis) -> None:
    plays = [{"user_id": 5, "item_id": item, "plays": 3} for item in (300, 301, 302, 303)]

    answer = app.call("refresh_embeddings", plays=plays, top_k=5)

    assert (answer["users"], answer["plays"], answer["users_unknown"]) == (1, 4, 0)
    assert {item // 100 for item in recommended(cache, 5)} == {3}
    assert not set(recommended(cache, 5)) & {300, 301, 302, 303}
    assert plain_pickle.loads(cache.get("embeddings:user:5"))["vector"].shape == (8,)
    assert {member.decode() for member in cache.hkeys("plays:user:5")} == {"300", "301", "302", "303"}


def test_a_wrong_argument_fails_once_with_each_bad_field(app: App) -> None:
    with Watch(app.fleet.server) as watch:
        sent = app.send("compute_recommendations", top_k=0, colour="blue")
        error = sent.get(timeout=20, propagate=False)
        executions = watch.executions(sent.id)

    assert type(error).__name__ == "MessageError"
    assert {problem["field"] for problem in error.args[1]} == {"top_k", "colour"}
    assert executions == 1


def test_a_data_set_that_is_not_there_fails_at_once_and_changes_nothing(app: App, cache: redis.Redis) -> None:
    live = cache.get("model:current")
    error = app.send("train_model", dataset="nothing.csv").get(timeout=20, propagate=False)

    assert isinstance(error, FileNotFoundError)
    assert cache.get("model:current") == live
