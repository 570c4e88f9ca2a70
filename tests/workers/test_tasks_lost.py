"""Work whose worker is lost: it is done by another one, and everybody who waits is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery
from fleet_fixtures import Fleet, Watch
from taste import history, write_history

from timbral import keys
from timbral.versions.model_store import ModelStore

pytestmark = pytest.mark.integration

Wait = Callable[..., None]
SLOW = {"dataset": "slow.csv", "n_components": 64, "max_iter": 300, "tol": 0}


@pytest.fixture
def app(fleet: Fleet) -> Iterator[Celery]:
    write_history(fleet.data_dir / "plays.csv", history())
    write_history(fleet.data_dir / "slow.csv", history(800, seed=2))
    url = f"{fleet.server.url}/0"
    with Celery("stranger", broker=url, backend=url, set_as_current=False) as made:
        made.conf.broker_transport_options = {"visibility_timeout": 4}
        yield made


def test_a_killed_leader_is_delivered_again_keeps_its_version_and_serves_its_followers(
    fleet: Fleet, app: Celery, client: redis.Redis, wait_until: Wait
) -> None:
    workers = {worker.name: worker for worker in fleet.start(2, queues="training")}
    with Watch(fleet.server) as watch:
        leader = app.send_task("train_model", kwargs=SLOW, queue="training")
        wait_until(lambda: b"sweep" in (client.hget(keys.progress(leader.id), "text") or b""), 20, "the training")
        follower = app.send_task("train_model", kwargs=SLOW, queue="training")
        wait_until(lambda: client.scard(f"once:{_digest(client)}:followers") == 1, 20, "the follower")
        wait_until(lambda: "task-started" in watch.types(leader.id), 5, "the event")
    (host,) = {e["hostname"] for e in watch.events if e["uuid"] == leader.id and e["type"] == "task-started"}

    workers[host.partition("@")[0]].kill()

    answers = [one.get(timeout=100) for one in (leader, follower)]
    assert answers[0]["model_version"] == answers[1]["model_version"]
    assert answers[0]["model_version"].endswith("-1")
    assert ModelStore(client, fleet.model_dir).versions() == [answers[0]["model_version"]]


def test_a_task_whose_message_is_nowhere_is_found_by_a_worker(
    fleet: Fleet, app: Celery, client: redis.Redis, wait_until: Wait
) -> None:
    record = {"task": "train_model", "kwargs": {"dataset": "plays.csv"}, "queue": "training", "at": time.time() - 60}
    client.hset(keys.SUBMITTED, "lost", json.dumps(record))
    with Watch(fleet.server) as watch:
        fleet.start(2)

        assert app.AsyncResult("lost").get(timeout=100)["promoted"] is True
        wait_until(lambda: not client.hexists(keys.SUBMITTED, "lost"), 10, "the end of the record")
        assert watch.executions("lost") == 1


def test_a_damaged_current_model_leaves_the_old_one_served(
    fleet: Fleet, app: Celery, client: redis.Redis, wait_until: Wait
) -> None:
    (worker,) = fleet.start()
    old, new = (
        app.send_task("train_model", kwargs={"dataset": "plays.csv", "random_state": seed, "promote": "always"}).get(
            timeout=30
        )["model_version"]
        for seed in (1, 2)
    )
    path = fleet.model_dir / f"{new}.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    worker.kill()
    (worker,) = fleet.start()

    answer = app.send_task("compute_recommendations", kwargs={"user_ids": [1000]}).get(timeout=100)

    assert answer["model_version"] == old
    assert client.get(keys.MODEL_CURRENT) == new.encode()
    assert "model cannot be read" in worker.log


def test_a_new_model_is_taken_up_by_every_worker_without_a_restart(fleet: Fleet, app: Celery) -> None:
    fleet.start(2)

    def versions_after(seed: int) -> tuple[str, set[str]]:
        live = app.send_task(
            "train_model", kwargs={"dataset": "plays.csv", "random_state": seed, "promote": "always"}
        ).get(timeout=100)["model_version"]
        sent = [app.send_task("compute_recommendations", kwargs={"user_ids": [1000 + number]}) for number in range(12)]
        return live, {one.get(timeout=100)["model_version"] for one in sent}

    for seed in (1, 2):
        live, used = versions_after(seed)
        assert used == {live}


def _digest(client: redis.Redis) -> str:
    (digest,) = client.zrange(keys.ONCE_OPEN, 0, -1)
    return str(digest.decode())
