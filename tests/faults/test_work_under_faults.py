"""The real tasks under faults: trainings, chunks, lost messages, a full disk, a damaged model, a full Redis."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from typing import Any

import pytest
from taste import history, write_history

from timbral import keys
from timbral.config.settings import settings
from timbral.queue import dead_letters

pytestmark = pytest.mark.faults

SMALL = {"dataset": "plays.csv", "holdout": 0, "promote": "always"}
SLOW = {"dataset": "slow.csv", "n_components": 64, "max_iter": 150, "tol": 0, "promote": "always"}


@pytest.fixture
def plays(faults: Any) -> Any:
    """Two data sets: one trained on at once, one in seconds."""
    write_history(faults.fleet.data_dir / "plays.csv", history())
    write_history(faults.fleet.data_dir / "slow.csv", history(1500, seed=2))
    return faults


def call(faults: Any, wait_until: Any, task: str, timeout_s: float = 60, **kwargs: Any) -> dict[str, Any]:
    """Send a task, wait for its end; its stored state and result."""
    task_id = faults.send_task(task, **kwargs)
    wait_until(lambda: faults.result(task_id).get("status") in ("SUCCESS", "FAILURE"), timeout_s, f"the end of {task}")
    return faults.result(task_id)


def received(faults: Any, task_id: str) -> int:
    """How often a worker took the task's message."""
    return sum(worker.log.count(f"[{task_id}] received") for worker in faults.fleet.workers)


def test_a_training_whose_process_is_killed_is_done_once_more_and_makes_one_version(
    plays: Any, wait_until: Any, observed: Any
) -> None:
    # given
    (worker,) = plays.start()
    task_id = plays.send_task("train_model", **SLOW)
    with plays.client() as client:
        wait_until(
            lambda: plays.result(task_id).get("status") in ("STARTED", "PROGRESS"), 30, "the training's beginning"
        )

        # when
        killed_at = time.monotonic()
        worker.kill_child()

        assert not plays.succeeded(task_id)

        # then
        wait_until(lambda: plays.succeeded(task_id), 60, "success after the kill")
        took_s = time.monotonic() - killed_at
        assert received(plays, task_id) == 2
        observed(
            "kill -9 of a pool's process in train_model",
            f"trained once more, done {took_s:.1f} s after the kill; one version",
        )
        answer = plays.result(task_id)["result"]
        assert answer["promoted"]
        assert (answer["n_users"], answer["n_components"]) == (1500, 64)
        assert client.get(keys.MODEL_CURRENT).decode() == answer["model_version"]
        assert client.zcard(keys.MODEL_VERSIONS) == 1
    assert len(list(plays.fleet.model_dir.glob("*.safetensors"))) == 1


def begun_and_held(client: Any, job_id: str) -> set[int]:
    """Chunks that a process has begun and not finished, and that stay so: their processes are stopped."""

    def held() -> set[int]:
        contents = (json.loads(content)[0]["body"] for content in client.hvals("unacked"))
        calls = (json.loads(base64.b64decode(body))[1] for body in contents)
        return {call["chunk"] for call in calls if "chunk" in call}

    def now() -> set[int]:
        left = {int(number) for number in client.smembers(keys.job_chunks(job_id))}
        return {n for n in held() & left if client.hget(keys.job(job_id), f"attempts:{n}")}

    # What a process said before it was stopped is on its way to the worker, which then acknowledges.
    found, n_times, deadline = now(), 0, time.monotonic() + 10
    while n_times < 5:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
        again = now()
        found, n_times = again, n_times + 1 if again == found else 0
    return found


def test_chunks_whose_processes_are_killed_are_done_again_and_every_user_has_a_list(
    plays: Any, wait_until: Any, observed: Any
) -> None:
    # given: 1,500 users in 500 chunks over two workers
    n_chunks = 500
    workers = plays.start(2, environment={"CHUNK_SIZE": "3"})
    call(plays, wait_until, "train_model", **{**SMALL, "dataset": "slow.csv"})
    job_id = plays.send_task("compute_recommendations", top_k=5)

    with plays.client() as client:
        # when: processes are killed in the middle of a chunk; they are stopped first, or the chunk would be done by
        # then
        wait_until(lambda: client.scard(keys.job_chunks(job_id)) in range(1, n_chunks), 30, "some chunks done")
        children = [worker.children()[0] for worker in workers]

        def stopped_in_a_chunk() -> set[int]:
            for child in children:
                os.kill(child, signal.SIGSTOP)
            found = begun_and_held(client, job_id)
            if not found:
                for child in children:
                    os.kill(child, signal.SIGCONT)
            return found

        wait_until(stopped_in_a_chunk, 30, "a process in the middle of a chunk")
        cut_short = begun_and_held(client, job_id)
        killed_at = time.monotonic()
        for child in children:
            os.kill(child, signal.SIGKILL)

        # then: these chunks were done once more, the others once
        wait_until(lambda: plays.succeeded(job_id), 60, "the job's success")
        took_s = time.monotonic() - killed_at
        assert plays.result(job_id)["result"]["users_done"] == 1500
        attempts = [int(client.hget(keys.job(job_id), f"attempts:{n}")) for n in range(n_chunks)]
        observed(
            f"the same in {len(cut_short)} of {n_chunks} chunks",
            f"1,500 lists there {took_s:.1f} s after the kill; {sum(attempts)} executions",
        )
        assert attempts == [2 if n in cut_short else 1 for n in range(n_chunks)]
        lists = client.mget([keys.recommendations_user(1000 + user) for user in range(1500)])
        assert all(len(json.loads(found)) == 5 for found in lists)
        assert not client.exists(keys.DEAD_LETTERS)


def test_a_message_lost_on_its_way_to_a_worker_is_found_missing_and_done(
    plays: Any, wait_until: Any, observed: Any
) -> None:
    # given: a task sent as producers do, whose message leaves the queue and reaches nobody: a worker died between BRPOP
    # and ZADD
    plays.start()
    call(plays, wait_until, "train_model", **SMALL)
    for worker in plays.fleet.workers:
        worker.stop()
    task_id = plays.send_task("compute_recommendations", user_ids=[1001], top_k=3)
    with plays.client() as client:
        kwargs = {"user_ids": [1001], "top_k": 3}
        sent = {"task": "compute_recommendations", "kwargs": kwargs, "queue": "celery", "at": time.time()}
        client.hset(keys.SUBMITTED, task_id, json.dumps(sent))
        assert client.rpop("celery")
        assert client.llen("celery") == 0

        # when
        plays.start()

        # then
        wait_until(lambda: plays.succeeded(task_id), 30, "success of the lost task")
        assert len(json.loads(client.get(keys.recommendations_user(1001)))) == 3
        wait_until(lambda: not client.hexists(keys.SUBMITTED, task_id), 10, "the end of its record")
    assert received(plays, task_id) == 1
    observed("a message lost between BRPOP and ZADD", "found missing by the rescue, done once")


def test_poison_is_parked_for_good_and_not_sent_again_by_the_sweep(plays: Any, wait_until: Any) -> None:
    # given: poison with a producer's record
    plays.start()
    task_id = plays.send("kill_child", "poison")
    with plays.client() as client:
        sent = {"task": "fault.kill_child", "kwargs": {"name": "poison"}, "queue": "celery", "at": time.time()}
        client.hset(keys.SUBMITTED, task_id, json.dumps(sent))
        wait_until(lambda: dead_letters.count(client) == 1, 40, "the dead letter")

        # when: several rescues later
        swept_from = time.monotonic()
        wait_until(lambda: time.monotonic() - swept_from > 3, 10)

        # then
        assert plays.begun("poison") == 3
        assert not client.hexists(keys.SUBMITTED, task_id)
        assert client.llen("celery") == 0


def test_a_task_over_its_time_limit_is_ended_once(plays: Any, wait_until: Any) -> None:
    # given
    plays.start(environment={"TASK_TIME_LIMIT_S": "2"})

    # when
    task_id = plays.send("work", "hung", seconds=60)

    # then
    wait_until(lambda: plays.result(task_id).get("status") == "FAILURE", 30, "the failure's record")
    assert plays.result(task_id)["result"]["exc_type"] == "TimeLimitExceeded"
    after = plays.send("work", "after")
    wait_until(lambda: plays.succeeded(after), 20, "the next task")
    assert (plays.begun("hung"), plays.done("hung")) == (1, 0)
    wait_until(lambda: plays.held() == 0, 5, "the acknowledgement")


BIG = {**SMALL, "dataset": "slow.csv", "n_components": 256, "max_iter": 1}
"""A model of 1,500 × 256 numbers of 4 bytes."""


def assert_the_model_is_served_but_no_other_can_be_written(plays: Any, wait_until: Any, live: str) -> None:
    ended = call(plays, wait_until, "train_model", **BIG)
    assert ended["status"] == "FAILURE"
    assert ended["result"]["exc_type"] == "ModelStoreError"
    with plays.client() as client:
        assert client.get(keys.MODEL_CURRENT).decode() == live
        client.delete(keys.recommendations_user(1001))
        assert call(plays, wait_until, "compute_recommendations", user_ids=[1001])["result"]["model_version"] == live
        assert client.exists(keys.recommendations_user(1001))


def test_a_full_disk_is_a_clear_error_and_the_old_model_is_served(plays: Any, wait_until: Any, observed: Any) -> None:
    # given: a live model, and a worker that may write no file of more than 600 kB
    plays.start()
    live = call(plays, wait_until, "train_model", **SMALL)["result"]["model_version"]
    plays.fleet.workers[0].stop()
    worker = plays.worker()
    limited = (
        "import os, resource, sys;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    worker.command = [sys.executable, "-c", limited, *worker.command]
    worker.start()

    # then: and no half file stays
    assert_the_model_is_served_but_no_other_can_be_written(plays, wait_until, live)
    observed("disk full in the model folder", "ModelStoreError, the live model served, no half file")
    assert [path.name for path in plays.fleet.model_dir.iterdir()] == [f"{live}.safetensors"]


def test_a_forbidden_model_folder_is_a_clear_error_and_the_old_model_is_served(
    plays: Any, wait_until: Any, observed: Any
) -> None:
    # given: a worker that serves a model
    plays.start()
    live = call(plays, wait_until, "train_model", **SMALL)["result"]["model_version"]
    call(plays, wait_until, "compute_recommendations", user_ids=[1001])

    # when: its folder becomes one where not even root may write
    plays.fleet.model_dir.rename(plays.fleet.directory / "elsewhere")
    plays.fleet.model_dir.symlink_to("/sys/kernel")

    # then
    assert_the_model_is_served_but_no_other_can_be_written(plays, wait_until, live)
    observed("no permission in the model folder", "ModelStoreError, the live model served")


def test_a_damaged_live_model_file_leaves_an_older_one_served(plays: Any, wait_until: Any, observed: Any) -> None:
    # given: two versions
    plays.start()
    older = call(plays, wait_until, "train_model", **SMALL)["result"]["model_version"]
    live = call(plays, wait_until, "train_model", **{**SMALL, "random_state": 7})["result"]["model_version"]
    plays.fleet.workers[0].stop()

    # when: the live one's file is damaged, and a worker that has not read it comes
    path = plays.fleet.model_dir / f"{live}.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (worker,) = plays.start()

    # then
    ended = call(plays, wait_until, "compute_recommendations", user_ids=[1001])
    assert (ended["status"], ended["result"]["model_version"]) == ("SUCCESS", older)
    assert "model cannot be read" in worker.log
    observed("a damaged current model file", "logged with its name; the version before it is served")
    assert live in worker.log


@pytest.mark.both_servers
def test_a_redis_at_its_limit_keeps_the_queue_and_drops_the_cache(plays: Any, wait_until: Any, observed: Any) -> None:
    # given: no worker; messages in the queue, one held, a dead letter, and 3 MB of room for the cache
    task_ids = [plays.send("work", f"task{n}") for n in range(200)]
    with plays.client() as client:
        client.hset("unacked", "held", "[]")
        client.zadd("unacked_index", {"held": time.time() + 1000})
        dead_letters.park(client, b"x" * 1000, kind="poison", reason="it kills", queue="celery", task="t", task_id="t1")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 3_000_000)
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-ttl"

        # when: 20,000 lists are written, 15 MB of them
        for start in range(0, 20_000, 500):
            with client.pipeline(transaction=False) as pipe:
                for user in range(start, start + 500):
                    pipe.set(keys.recommendations_user(user), "x" * 700, ex=settings.RECOMMENDATIONS_TTL_S)
                pipe.execute()

        # then: the cache shrank, nothing else did, and publishing works
        assert client.info("stats")["evicted_keys"] > 10_000
        assert client.llen("celery") == 200
        assert (client.hlen("unacked"), client.zcard("unacked_index"), dead_letters.count(client)) == (1, 1, 1)
        task_ids.append(plays.send("work", "one more"))

        # and: workers do the work, at the limit
        plays.start()
        wait_until(lambda: all(map(plays.succeeded, task_ids)), 60, "all tasks")
        assert all(plays.begun(f"task{n}") == 1 for n in range(200))
        observed(
            "Redis at maxmemory",
            f"{client.info('stats')['evicted_keys']} cache keys evicted; 201 of 201 messages done, dead letter kept",
        )


def test_a_worker_that_was_frozen_does_its_task_and_hurts_nothing(plays: Any, wait_until: Any, observed: Any) -> None:
    # given: a worker with a task that is frozen, process and pool, for longer than the visibility timeout
    plays.start(2)
    task_id = plays.send("work", "long", seconds=2)
    wait_until(lambda: plays.begun("long") == 1, 20, "the beginning")
    frozen = plays.holder(task_id)
    os.killpg(frozen.pid, signal.SIGSTOP)

    # when: the other one takes over, and then it wakes up
    try:
        wait_until(lambda: plays.succeeded(task_id), 30, "success by the other worker")
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)

    # then: both lived, no message is left, and both go on
    after = [plays.send("work", f"after{n}", seconds=0.3) for n in range(6)]
    wait_until(lambda: all(map(plays.succeeded, after)), 30, "the next tasks")
    assert all(worker.alive for worker in plays.fleet.workers)
    wait_until(lambda: plays.held() == 0, 10, "the acknowledgements")
    assert plays.begun("long") == 2
    observed("a worker frozen for longer than VT", "the other one did its task; it woke up and went on")
