"""The users of deploy/redis/users.acl, each tried against a real server: what they need works, and nothing else
does."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from celery import Celery
from fleet_fixtures import WorkerProcess
from guarded_server import PASSWORDS, GuardedServer, users_acl
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from timbral.keys import KEYS

DESTRUCTIVE = [
    ["FLUSHALL"], ["FLUSHDB"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["CONFIG", "SET", "dir", "/tmp"], ["DEBUG", "SLEEP", "0"],
    ["SHUTDOWN", "NOSAVE"], ["SAVE"], ["BGREWRITEAOF"], ["REPLICAOF", "127.0.0.1", "1"], ["MONITOR"], ["ACL", "LIST"],
    ["ACL", "SETUSER", "evil", "on", "nopass", "~*", "+@all"], ["CLIENT", "LIST"], ["CLIENT", "KILL", "TYPE", "normal"],
    ["MODULE", "LIST"], ["MIGRATE", "127.0.0.1", "1", "celery", "0", "10"], ["SWAPDB", "0", "1"], ["SORT", "celery"],
]  # fmt: skip


def refused(client: redis.Redis, *command: str) -> bool:
    try:
        client.execute_command(*command)
    except NoPermissionError:
        return True
    except redis.ResponseError as error:
        return "not allowed" in str(error)  # DEBUG, which is switched off for everybody
    return False


def run_as(guarded: GuardedServer, user: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh process whose environment names the server and the user, as an app's would."""
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": guarded.url(user),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_nobody_gets_in_without_a_password(guarded: GuardedServer) -> None:
    with redis.Redis(port=guarded.port, retry=Retry(NoBackoff(), 0)) as nobody, pytest.raises(AuthenticationError):
        nobody.ping()


def test_the_health_check_may_ping_and_nothing_else(guarded: GuardedServer) -> None:
    with redis.Redis(port=guarded.port, username="health", password="none", protocol=2, driver_info=None) as health:
        assert health.ping()
        for command in (["GET", "model:current"], ["INFO"], ["SET", "x", "1"], *DESTRUCTIVE):
            assert refused(health, *command), command


@pytest.mark.parametrize("user", ["worker", "app", "producer", "reader"])
def test_no_user_but_the_admin_may_run_a_command_that_ends_or_empties_the_server(
    guarded: GuardedServer, user: str
) -> None:
    with guarded.client(user) as client:
        for command in DESTRUCTIVE:
            assert refused(client, *command), command


@pytest.mark.parametrize("user", ["worker", "app", "producer", "reader"])
def test_no_user_reaches_the_keys_of_another_app_on_the_same_server(guarded: GuardedServer, user: str) -> None:
    with guarded.client("admin") as admin:
        admin.set("sessions:1", "secret")
    with guarded.client(user) as client:
        assert refused(client, "GET", "sessions:1")
        assert refused(client, "SET", "sessions:1", "forged")
        assert refused(client, "DEL", "sessions:1")


def test_a_producer_enqueues_with_our_package_and_its_submission_is_recorded(guarded: GuardedServer) -> None:
    code = "import producers; print(producers.enqueue_train_model('plays.csv').id); print(producers.enqueue_compute_recommendations().id)"
    done = run_as(guarded, "producer", code)
    assert done.returncode == 0, done.stderr
    train_id, compute_id = done.stdout.split()
    with guarded.client("admin") as admin:
        assert json.loads(admin.lindex("training", 0))["headers"]["id"] == train_id
        assert json.loads(admin.lindex("celery", 0))["headers"]["id"] == compute_id
        assert set(admin.hkeys("tasks:submitted")) == {train_id.encode(), compute_id.encode()}
    assert "may not write" not in done.stderr


@pytest.mark.parametrize(("priority", "queue"), [(None, b"celery"), (9, b"celery\x06\x169")])
def test_a_producer_enqueues_with_bare_celery(guarded: GuardedServer, priority: int | None, queue: bytes) -> None:
    with Celery(broker=guarded.url("producer"), set_as_current=False) as app:
        sent = app.send_task("refresh_embeddings", kwargs={"user_ids": [7]}, priority=priority)
    with guarded.client("admin") as admin:
        assert json.loads(admin.lindex(queue, 0))["headers"]["id"] == sent.id


def test_a_producer_enqueues_and_can_do_nothing_else(guarded: GuardedServer) -> None:
    with guarded.client("admin") as admin:
        admin.set("recommendations:user:7", "[]")
        admin.set("model:current", "v1")
        admin.set("celery-task-meta-1", "{}")
        admin.lpush("celery", "somebody else's message")
    forbidden = [
        ["GET", "recommendations:user:7"], ["SET", "recommendations:user:7", "[]"], ["DEL", "recommendations:user:7"],
        ["GET", "model:current"], ["SET", "model:current", "v0"], ["GET", "celery-task-meta-1"],
        ["LRANGE", "celery", "0", "-1"], ["LPOP", "celery"], ["RPOP", "celery"], ["BRPOP", "celery", "1"], ["DEL", "celery"],
        ["LPUSH", "dead_letters", "x"], ["ZADD", "dead_letters", "1", "x"], ["HGETALL", "unacked"], ["HGETALL", "tasks:submitted"],
        ["SMEMBERS", "_kombu.binding.celery"], ["SADD", "blocks:items", "1"], ["HSET", "model:v1:metadata", "1", "1"], ["LRANGE", "plays:user:7", "0", "-1"], ["EVAL", "return 1", "0"],
        ["PUBLISH", "/0.celery.pidbox", "{}"], ["PUBLISH", "/0.celeryev/worker.heartbeat", "{}"], ["SUBSCRIBE", "/0.celeryev/task.sent"],
        ["EVAL", "return redis.call('get', 'model:current')", "0"], ["SCAN", "0"], ["INFO"],
    ]  # fmt: skip
    with guarded.client("producer") as producer:
        for command in forbidden:
            assert refused(producer, *command), command


def test_a_producer_cannot_send_control_commands_to_the_workers(guarded: GuardedServer) -> None:
    with Celery(broker=guarded.url("producer"), set_as_current=False) as app:
        for command in ("shutdown", "revoke", "pool_shrink"):
            arguments = {"task_id": "x"} if command == "revoke" else {}
            with pytest.raises((OperationalError, NoPermissionError)):
                app.control.broadcast(command, arguments=arguments)


def test_a_reader_reads_the_cache_with_our_package(guarded: GuardedServer) -> None:
    with guarded.client("worker") as worker:
        worker.set("recommendations:user:7", '[{"item_id": 1, "score": 0.9}, {"item_id": 2, "score": 0.8}]', ex=60)
        worker.sadd("blocks:items", "2")
    done = run_as(guarded, "reader", "import producers; print(producers.get_recommendations(7))")
    assert done.stdout.strip() == "[{'item_id': 1, 'score': 0.9}]", done.stderr


def test_a_reader_reads_the_cache_and_can_do_nothing_else(guarded: GuardedServer) -> None:
    forbidden = [
        ["SET", "recommendations:user:7", "[]"], ["DEL", "recommendations:user:7"], ["EXPIRE", "recommendations:user:7", "1"],
        ["SET", "embeddings:user:7", "x"], ["SADD", "blocks:items", "1"], ["SET", "model:current", "v0"], ["GET", "celery-task-meta-1"],
        ["HSET", "items:sets", "a", "1"], ["LPUSH", "celery", "{}"], ["LRANGE", "celery", "0", "-1"], ["HGETALL", "tasks:submitted"], ["HGETALL", "plays:user:7"],
        ["SUBSCRIBE", "/0.celeryev/task.sent"], ["EVAL", "return 1", "0"], ["SCAN", "0"], ["INFO"],
    ]  # fmt: skip
    with guarded.client("reader") as reader:
        assert reader.get("embeddings:user:7") is None
        for command in forbidden:
            assert refused(reader, *command), command


def test_an_app_enqueues_follows_its_job_and_reads_but_writes_no_results(guarded: GuardedServer) -> None:
    code = """
import producers
job = producers.enqueue_refresh_embeddings(user_ids=[7])
producers.block_items(7, [3])
producers.put_item_set("jazz", [1, 2])
assert producers.get_recommendations(7, allow=["jazz"]) is None
assert producers.get_item_set("jazz") == {1, 2} and len(producers.list_item_sets()) == 1 and producers.delete_item_set("jazz")
print(job.state, job.progress, producers.get_recommendations(7), producers.blocked_items(7))
"""
    done = run_as(guarded, "app", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "PENDING Progress(done=0, total=0, text='') None {3}"
    with guarded.client("app") as app:
        for command in (
            ["SET", "recommendations:user:7", "[]"], ["SET", "celery-task-meta-1", "{}"], ["RPOP", "celery"], ["SET", "model:current", "v0"],
            ["HSET", "job:1", "state", "done"], ["PUBLISH", "/0.celery.pidbox", "{}"], ["EVAL", "return 1", "0"],
        ):  # fmt: skip
            assert refused(app, *command), command


def test_every_key_of_ours_is_within_the_workers_reach() -> None:
    line = next(line for line in users_acl(PASSWORDS).splitlines() if line.startswith("user worker "))
    patterns = re.findall(r" (?:%R)?~(\S+)", line)
    names = [re.sub(r"\{\w+\}", "x", key.name) for key in KEYS]
    assert [name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)] == []


def test_a_restart_reads_back_what_transactions_and_scripts_wrote(tmp_path: Path) -> None:
    # Redis 7.0 replays them as the user `default`, and drops those that it is not allowed.
    server = GuardedServer(tmp_path).start()
    try:
        with server.client("worker") as worker:
            with worker.pipeline(transaction=True) as pipeline:
                pipeline.set("model:current", "v1").zadd("model:versions", {"v1": 1}).execute()
            worker.eval(
                "redis.call('HSET', KEYS[1], 'a', 1) redis.call('SADD', KEYS[2], 7)", 2, "plays:user:7", "plays:users"
            )
        server.stop()
        server.start()
        with server.client("worker") as worker:
            assert worker.get("model:current") == b"v1"
            assert worker.zrange("model:versions", 0, -1) == [b"v1"]
            assert worker.hgetall("plays:user:7") == {b"a": b"1"}
            assert worker.smembers("plays:users") == {b"7"}
        once = Retry(NoBackoff(), 0)
        with (
            redis.Redis(port=server.port, username="default", password="", retry=once) as default,
            pytest.raises(AuthenticationError),
        ):
            default.ping()
    finally:
        server.stop()


def test_a_user_without_a_password_does_not_exist() -> None:
    printed = users_acl({"worker": "secret-of-the-worker"})
    assert [line.split()[1] for line in printed.splitlines()] == ["default", "health", "worker"]
    assert "secret-of-the-worker" not in printed


@pytest.mark.integration
def test_a_worker_with_the_workers_user_does_tasks_and_is_never_refused(guarded: GuardedServer, tmp_path: Path) -> None:
    worker = WorkerProcess(guarded, tmp_path, environment={"REDIS_URL": guarded.url("worker")})
    with guarded.client("admin") as admin:
        admin.execute_command("ACL", "LOG", "RESET")
    worker.spawn()
    code = """
import producers, sys
from timbral.errors import TimbralError
try:
    producers.enqueue_train_model('missing.csv').wait(100)
except TimbralError as error:
    print(type(error).__name__)
"""
    try:
        done = run_as(guarded, "app", code)
        assert done.stdout.strip() not in ("", "JobTimeoutError"), done.stderr + worker.log[-2000:]
    finally:
        worker.stop()
    with guarded.client("admin") as admin:
        refusals = [entry for entry in admin.acl_log() if entry["username"] == "worker"]
    assert refusals == [], refusals
    assert PASSWORDS["worker"] not in worker.log


def test_the_users_of_a_fleet_behind_a_prefix_reach_nothing_else(tmp_path: Path) -> None:
    server = GuardedServer(tmp_path, key_prefix="music:").start()
    try:
        with server.client("worker") as worker, server.client("app") as app, server.client("reader") as reader:
            for key in KEYS:
                name = re.sub(r"\{\w+\}", "7", key.name)
                worker.exists(f"music:{name}")
                with pytest.raises(NoPermissionError):
                    worker.exists(name)
            app.lpush("music:training", "{}")
            app.sadd("_kombu.binding.music:celery", "x")
            assert reader.get("music:recommendations:user:7") is None
            assert refused(app, "LPUSH", "training", "{}")
            assert refused(app, "SADD", "_kombu.binding.celery", "x")
            assert refused(reader, "GET", "recommendations:user:7")
            assert refused(worker, "LPUSH", "celery", "{}")
    finally:
        server.stop()


@pytest.mark.parametrize("user", ["app", "producer"])
def test_who_enqueues_may_record_plays_too(guarded: GuardedServer, user: str) -> None:
    code = """
import producers
print(producers.record_plays([{"user_id": 7, "item_id": 12, "event_id": "e1"}, {"user_id": 7, "item_id": 12, "event_id": "e1"}]))
"""
    ran = run_as(guarded, user, code)

    assert ran.stdout.strip() == "1", ran.stderr
    with guarded.client("admin") as admin:
        assert admin.llen("plays:user:7") == 1
        assert any(b"refresh_played" in message for message in admin.lrange("celery", 0, -1))
