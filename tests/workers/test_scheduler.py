"""The scheduler, as processes of ``celery -A workers.app beat``."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from warm_python import WarmProcess

from timbral import keys
from timbral.config.settings import read_settings
from timbral.errors import SettingsError
from timbral.messages import Play
from timbral.plays.recorder import PlayRecorder
from timbral.stack.embedded_server import EmbeddedServer
from workers.scheduler import TICK_S, Entry, RedisScheduler, entries_of

Start = Callable[..., WarmProcess]


@pytest.fixture
def start(redis_server: EmbeddedServer, tmp_path: Path) -> Iterator[Start]:
    """``start(RENEW_EVERY_S=2)``: a scheduler process; ended with the test."""
    processes: list[WarmProcess] = []

    def begin(**settings: object) -> WarmProcess:
        given = {name: str(value) for name, value in settings.items()}
        process = WarmProcess(
            ["-m", "celery", "-A", "workers.app", "beat", "-l", "INFO"],
            cwd=tmp_path,
            env={**os.environ, "REDIS_URL": redis_server.url, **given},
            output=tmp_path / f"beat{len(processes)}.log",
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def sent(client: redis.Redis) -> list[dict[str, Any]]:
    """Headers of the renewals in the queue, the oldest first."""
    return [json.loads(value)["headers"] for value in reversed(client.lrange("celery", 0, -1))]


def test_two_schedulers_send_each_renewal_once(start: Start, client: redis.Redis, wait_until: Any) -> None:
    # given
    client.set(keys.MODEL_CURRENT, "v1")
    for _ in range(2):
        start(RENEW_EVERY_S=2)

    # when
    wait_until(lambda: len(sent(client)) >= 4, 40, "four renewals")
    times = [float(json.loads(value)["at"]) for value in client.hvals(keys.SUBMITTED)]

    # then: one every two seconds, and each with the record that makes a lost one come back
    assert {header["task"] for header in sent(client)} == {"compute_recommendations"}
    assert {header["id"] for header in sent(client)} <= {field.decode() for field in client.hkeys(keys.SUBMITTED)}
    times.sort()
    assert all(later - earlier >= 1.99 for earlier, later in pairwise(times))


def test_another_takes_over_from_a_killed_one_and_neither_repeats_nor_skips(
    start: Start, client: redis.Redis, wait_until: Any
) -> None:
    # given: one in charge that has sent the renewal, and one in waiting
    client.set(keys.MODEL_CURRENT, "v1")
    first = start(RENEW_EVERY_S=3600)
    wait_until(lambda: len(sent(client)) == 1, 30, "the first renewal")
    holder = client.get(keys.SCHEDULE_LOCK)
    start(RENEW_EVERY_S=3600)

    # when: it is killed, its lock lapses, and the time comes
    first.send_signal(signal.SIGKILL)
    first.wait()
    client.pexpire(keys.SCHEDULE_LOCK, 100)
    wait_until(lambda: client.get(keys.SCHEDULE_LOCK) not in (None, holder), 30, "a new holder")

    # then: nothing is repeated now, and the next one is sent when it is due
    assert len(sent(client)) == 1
    client.hset(keys.SCHEDULE, "renew_recommendations", time.time() - 3601)
    wait_until(lambda: len(sent(client)) == 2, 15, "the second renewal")


@pytest.fixture
def scheduler(redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> RedisScheduler:
    """One in this process, with a renewal every 2 s, which is due."""
    known = read_settings(REDIS_URL=redis_server.url, RENEW_EVERY_S=2)
    monkeypatch.setattr("workers.scheduler.settings", known)
    app = Celery("scheduler", broker=redis_server.url, set_as_current=False)
    app.conf.task_routes = {}
    made = RedisScheduler(app, lazy=True)
    made.setup_schedule()
    return made


def test_who_is_not_in_charge_sends_nothing_and_looks_again_later(
    scheduler: RedisScheduler, client: redis.Redis
) -> None:
    client.set(keys.MODEL_CURRENT, "v1")
    client.set(keys.SCHEDULE_LOCK, "another scheduler", px=60_000)

    assert scheduler.tick() == TICK_S

    assert sent(client) == []
    assert not client.exists(keys.SCHEDULE, keys.SUBMITTED)
    assert client.get(keys.SCHEDULE_LOCK) == b"another scheduler"


def test_who_loses_the_lock_between_looking_and_sending_sends_nothing(
    scheduler: RedisScheduler, client: redis.Redis
) -> None:
    client.set(keys.MODEL_CURRENT, "v1")
    client.set(keys.SCHEDULE_LOCK, "another scheduler", px=60_000)
    entry = next(one for one in scheduler.entries if one.name == "renew_recommendations")

    assert scheduler._send_if_due(entry) == entry.every_s
    assert sent(client) == []
    assert not client.exists(keys.SCHEDULE, keys.SUBMITTED)

    client.set(keys.SCHEDULE_LOCK, scheduler.token, px=60_000)
    scheduler._send_if_due(entry)
    assert len(sent(client)) == 1


def test_a_restart_goes_on_where_it_was_and_leaves_the_lock(start: Start, client: redis.Redis, wait_until: Any) -> None:
    # given
    client.set(keys.MODEL_CURRENT, "v1")
    first = start(RENEW_EVERY_S=3600)
    wait_until(lambda: len(sent(client)) == 1, 30, "the first renewal")

    # when
    first.send_signal(signal.SIGTERM)
    first.wait(100)
    assert not client.exists(keys.SCHEDULE_LOCK)
    start(RENEW_EVERY_S=3600)
    wait_until(lambda: client.exists(keys.SCHEDULE_LOCK), 30, "a new holder")

    # then
    last = client.hget(keys.SCHEDULE, "renew_recommendations")
    assert len(sent(client)) == 1
    assert client.hget(keys.SCHEDULE, "renew_recommendations") == last


def test_trainings_go_to_their_own_queue_and_need_no_model(start: Start, client: redis.Redis, wait_until: Any) -> None:
    start(RETRAIN_EVERY_S=3600, RETRAIN_DATASET="plays.csv", RENEW_EVERY_S=2)

    wait_until(lambda: client.llen("training") == 1, 30, "the training")

    assert client.llen("celery") == 0, "nothing to renew before there is a model"
    assert json.loads(client.lindex("training", 0))["headers"]["task"] == "train_model"
    record = json.loads(client.hvals(keys.SUBMITTED)[0])
    assert (record["task"], record["kwargs"], record["queue"]) == (
        "train_model",
        {"warm_start": True, "dataset": "plays.csv"},
        "training",
    )


def test_the_schedule_is_what_the_settings_ask_for() -> None:
    settings = read_settings(RENEW_EVERY_S=60, RETRAIN_EVERY_S=600, RETRAIN_DATASET="a.csv")

    assert entries_of(settings) == [
        Entry("renew_recommendations", "compute_recommendations", {}, 60),
        Entry("retrain", "train_model", {"warm_start": True, "dataset": "a.csv"}, 600),
        Entry("archive_plays", "archive_plays", {}, 60),
    ]
    assert entries_of(read_settings(RENEW_EVERY_S=0, ARCHIVE_EVERY_S=0)) == []
    assert entries_of(read_settings(RENEW_EVERY_S=0, RETRAIN_AFTER_PLAYS=500, ARCHIVE_EVERY_S=30)) == [
        Entry("retrain_after_plays", "train_model", {"warm_start": True}, 0, 500),
        Entry("archive_plays", "archive_plays", {}, 30),
    ]


def test_a_training_is_sent_after_so_many_plays_and_once(start: Start, client: redis.Redis, wait_until: Any) -> None:
    recorder = PlayRecorder(client)
    recorder.record([Play(user_id=1, item_id=item) for item in range(9)], "a", 60)
    start(RETRAIN_AFTER_PLAYS=10, RENEW_EVERY_S=0)
    wait_until(lambda: client.llen("batch") == 1, 30, "the archiving, which comes after it in a round")
    assert client.llen("training") == 0

    recorder.record([Play(user_id=1, item_id=9)], "b", 60)
    wait_until(lambda: client.llen("training") == 1, 30, "the training")
    recorder.record([Play(user_id=1, item_id=item) for item in range(9)], "c", 60)
    looked = client.hget(keys.SCHEDULE, "archive_plays")
    client.hset(keys.SCHEDULE, "archive_plays", 0)
    wait_until(lambda: client.hget(keys.SCHEDULE, "archive_plays") not in (b"0", looked), 30, "another round")

    assert client.llen("training") == 1
    record = next(json.loads(value) for value in client.hvals(keys.SUBMITTED) if b"train_model" in value)
    assert (record["task"], record["kwargs"], record["queue"]) == ("train_model", {"warm_start": True}, "training")


def test_a_renewal_that_comes_after_the_expiry_is_refused() -> None:
    with pytest.raises(SettingsError, match="RENEW_EVERY_S: must be less than RECOMMENDATIONS_TTL_S=100"):
        entries_of(read_settings(RENEW_EVERY_S=100, RECOMMENDATIONS_TTL_S=100))
