"""Several Celery apps in one database: with KEY_PREFIX none meets the other, without it a foreign message is not
destroyed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from fleet_fixtures import Fleet, WorkerProcess

from timbral.config.settings import read_settings
from timbral.errors import SettingsError
from timbral.stack.embedded_server import EmbeddedServer

PREFIX = "music:"
QUEUES = f"{PREFIX}celery,{PREFIX}batch,{PREFIX}training"
THEIRS = """
from celery import Celery
import os
app = Celery("theirs", broker=os.environ["REDIS_URL"] + "/0", backend=os.environ["REDIS_URL"] + "/0")

@app.task(name="theirs.add")
def add(x, y):
    return x + y
"""
OURS = """
import json, producers
from pathlib import Path
from timbral.utils.redis_connector import RedisConnector
jobs = [producers.enqueue_train_model("plays.csv", n_components=2, random_state=n) for n in range(3)]
versions = {job.wait(100)["model_version"] for job in jobs}
done = producers.enqueue_compute_recommendations(top_k=2).wait(100)
print(json.dumps([len(versions), done["users_done"], bool(producers.get_recommendations(1)), RedisConnector().get_embeddings("none")]))
"""


def keys_of(client: redis.Redis) -> set[str]:
    return {key.decode() for key in client.scan_iter()}


def foreign_worker(server: EmbeddedServer, folder: Path, *options: str) -> WorkerProcess:
    (folder / "theirs.py").write_text(THEIRS)
    return WorkerProcess(
        server, folder, name="theirs", app="theirs", queues="celery", python_path=folder, options=options
    )


@pytest.mark.integration
def test_two_apps_in_one_database_do_each_others_tasks_no_harm(
    fleet: Fleet, client: redis.Redis, tmp_path: Path
) -> None:
    # given: our fleet with a prefix, and beside it a Celery app of somebody else's with everything as Celery has it
    (fleet.data_dir / "plays.csv").write_text(
        "user_id,item_id,plays\n"
        + "".join(f"{u},{i},{1 + (u * i) % 5}\n" for u in range(1, 13) for i in range(u % 3, 9, 2))
    )
    fleet.start(queues=QUEUES, environment={"KEY_PREFIX": PREFIX})
    theirs = foreign_worker(fleet.server, tmp_path).start()
    app = Celery("app", broker=f"{fleet.server.url}/0", backend=f"{fleet.server.url}/0", set_as_current=False)

    # when: both have work
    try:
        sums = [app.send_task("theirs.add", args=(n, 1)) for n in range(20)]
        ours = subprocess.run(
            [sys.executable, "-c", OURS],
            env={**os.environ, "REDIS_URL": fleet.server.url, "KEY_PREFIX": PREFIX},
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip

        # then
        assert [result.get(timeout=100) for result in sums] == [n + 1 for n in range(20)]
        assert ours.stdout.strip() == "[3, 12, true, null]", ours.stderr[-2000:] + fleet.workers[0].log[-2000:]
        # and: a command for all workers of theirs reaches none of ours
        assert [next(iter(answer)) for answer in app.control.ping(timeout=2)] == ["theirs@test"]
    finally:
        theirs.stop()
        app.close()
    # and: whatever of ours is not behind the prefix names it
    others = {key for key in keys_of(client) if not key.startswith((PREFIX, "celery-task-meta-"))}
    assert {key for key in others if PREFIX not in key} <= {
        "_kombu.binding.celery", "_kombu.binding.celeryev", "_kombu.binding.celery.pidbox",
        "_kombu.binding.reply.celery.pidbox", "_kombu.binding_permanent.celery", "_kombu.binding_deadlines",
    }  # fmt: skip
    assert f"{PREFIX}model:current" in keys_of(client)
    assert not client.exists("dead_letters", f"{PREFIX}dead_letters")


@pytest.mark.integration
def test_a_foreign_message_in_a_shared_queue_is_put_back_loudly_and_done_by_its_own_workers(
    fleet: Fleet, client: redis.Redis, tmp_path: Path, wait_until: Any
) -> None:
    (worker,) = fleet.start()
    app = Celery("app", broker=f"{fleet.server.url}/0", backend=f"{fleet.server.url}/0", set_as_current=False)
    result = app.send_task("theirs.add", args=(1, 2))
    wait_until(lambda: "theirs.add" in worker.log, 30, "a word in the log")
    mistyped = app.send_task("train_modl", kwargs={"dataset": "plays.csv"})

    wait_until(lambda: mistyped.state == "FAILURE", 30, "the refusal of a mistyped name")
    theirs = foreign_worker(fleet.server, tmp_path).start()
    try:
        assert result.get(timeout=100) == 3
    finally:
        theirs.stop()
        app.close()

    assert "did you mean 'train_model'?" in worker.log
    assert worker.log.count("Another Celery app uses this queue") == 1
    assert client.zcard("dead_letters") == 1


def test_a_bare_app_reaches_a_fleet_behind_a_prefix(fleet: Fleet, client: redis.Redis) -> None:
    fleet.start(queues=QUEUES, environment={"KEY_PREFIX": PREFIX})
    app = Celery("app", broker=f"{fleet.server.url}/0", backend=f"{fleet.server.url}/0", set_as_current=False)
    app.conf.result_backend_transport_options = {"global_keyprefix": PREFIX}

    result = app.send_task("train_model", kwargs={"dataset": "missing.csv"}, queue=f"{PREFIX}training")

    with pytest.raises(Exception, match=r"missing\.csv"):
        result.get(timeout=100)
    assert client.exists(f"{PREFIX}celery-task-meta-{result.id}")
    app.close()


def test_names_of_queues_are_settings(redis_server: EmbeddedServer, client: redis.Redis) -> None:
    environment = {
        **os.environ, "REDIS_URL": redis_server.url, "KEY_PREFIX": "m.", "QUEUE": "users", "TRAINING_QUEUE": "slow",
    }  # fmt: skip
    code = """
import producers
producers.enqueue_train_model("plays.csv")
producers.enqueue_refresh_embeddings(user_ids=[1])
from workers.app import app
print(sorted(app.amqp.queues), app.conf.task_default_queue)
"""

    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)

    assert ran.stdout.strip() == "['m.batch', 'm.slow', 'm.users'] m.users", ran.stderr
    assert (client.llen("m.slow"), client.llen("m.users")) == (1, 1)
    assert {key for key in keys_of(client) if "m." not in key} == set()


@pytest.mark.parametrize(
    "wrong", [{"KEY_PREFIX": "music"}, {"KEY_PREFIX": "a{b}:"}, {"QUEUE": "batch"}, {"QUEUE": "a b"}]
)
def test_a_prefix_or_a_queue_that_cannot_be_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        read_settings(**wrong)
