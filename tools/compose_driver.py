"""Runs inside a container of the stack (tools/compose_test.py sends it there): works the fleet, and counts what it did.

    python - history USERS ITEMS        train, recommend for everyone, check every list
    python - load SECONDS USERS TRAIN   keep the queues busy for that long, then wait for all of it and count
    python - check USERS                what is in Redis now

It prints one JSON object.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import redis
from celery import Celery

import producers
from timbral import keys
from timbral.config.fleet_celery import celery_settings
from timbral.config.settings import settings
from timbral.errors import RedisUnavailableError, TimbralError
from timbral.plays.pending import PendingPlays

WAIT_S = 240.0


class Watch:
    """Counts each task's ends by the events that the workers send."""

    def __init__(self) -> None:
        self.succeeded: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        app = Celery(broker=settings.queue.celery_url, set_as_current=False)
        app.config_from_object(celery_settings())
        while not self._stop.is_set():
            try:
                with app.connection_for_read() as connection:
                    handlers = {
                        "task-started": self._count(self.started),
                        "task-succeeded": self._count(self.succeeded),
                    }
                    app.events.Receiver(connection, handlers=handlers).capture(timeout=1)
            except (TimeoutError, OSError):
                continue

    @staticmethod
    def _count(counter: Counter[str]) -> Any:
        return lambda event: counter.update([event["uuid"]])


def client() -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url)


def history(n_users: int, n_items: int) -> dict[str, Any]:
    """Train on the generated plays and give everyone a list."""
    began = time.monotonic()
    trained = producers.enqueue_train_model("plays.csv", value_col="plays", n_components=16).wait(WAIT_S)
    trained_s = time.monotonic() - began
    began = time.monotonic()
    done = producers.enqueue_compute_recommendations(top_k=10).wait(WAIT_S)
    recommended_s = time.monotonic() - began
    lists = producers.get_recommendations_many(range(n_users))
    items = [[entry["item_id"] for entry in listed or []] for listed in lists.values()]
    return {
        "trained": [trained["n_users"], trained["n_items"]] == [n_users, n_items],
        "promoted": trained["promoted"],
        "train_s": round(trained_s, 2),
        "recommend_s": round(recommended_s, 2),
        "users_done": done["users_done"],
        "full_lists": sum(len(listed) == len(set(listed)) == 10 for listed in items),
        "first": items[0],
    }


def load(seconds: float, n_users: int, train: bool) -> dict[str, Any]:
    """Refreshes with plays, of users that are told apart by their plays, jobs for everyone, and one training."""
    watch, rng = Watch(), random.Random(0)
    before = _plays()
    jobs: list[producers.Job] = []
    expected: Counter[tuple[int, int]] = Counter()
    if train:
        jobs.append(
            producers.enqueue_train_model(
                "plays.csv", value_col="plays", n_components=64, tol=0, max_iter=400, promote="never"
            )
        )
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        user, item = rng.randrange(n_users), rng.randrange(100)
        try:
            jobs.append(producers.enqueue_refresh_embeddings(plays=[{"user_id": user, "item_id": item, "plays": 1}]))
            expected[user, item] += 1
            if number % 50 == 0:
                jobs.append(producers.enqueue_compute_recommendations(top_k=10 + number // 50))
        except RedisUnavailableError:
            time.sleep(0.5)
            continue
        number += 1
        time.sleep(0.02)
    ends: Counter[str] = Counter()
    for job in jobs:
        try:
            job.wait(WAIT_S)
            ends["done"] += 1
        except TimbralError as error:
            ends[f"{type(error).__name__}: {error}"[:120]] += 1
    time.sleep(1)  # the last events are on their way
    after = _plays()
    gained = {pair: after.get(pair, 0.0) - before.get(pair, 0.0) for pair in expected}
    redis_client = client()
    return {
        "sent": len(jobs),
        "ends": dict(ends),
        "plays_lost": sum(gained[pair] < n for pair, n in expected.items()),
        "plays_twice": sum(gained[pair] > n for pair, n in expected.items()),
        "done_twice": sum(watch.succeeded[job.id] > 1 for job in jobs),
        "begun_again": sum(watch.started[job.id] > 1 for job in jobs),
        "dead_letters": int(redis_client.zcard(keys.DEAD_LETTERS)),
        "still_queued": sum(int(redis_client.llen(name)) for name in ("celery", "batch", "training")),
    }


def _plays() -> dict[tuple[int, int], float]:
    redis_client = client()
    users = [keys.decode_id(member) for member in redis_client.smembers(keys.PLAYS_USERS)]
    return {
        (int(user), int(item)): plays
        for user in users
        for item, plays in PendingPlays.read(redis_client.lrange(keys.plays_user(user), 0, -1)).by_item().items()
    }


def check(n_users: int) -> dict[str, Any]:
    """How many lists there are, and which version is live."""
    lists = producers.get_recommendations_many(range(n_users))
    current: Any = client().get(keys.MODEL_CURRENT)
    return {"lists": sum(bool(listed) for listed in lists.values()), "current": current.decode() if current else None}


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    numbers = [float(word) for word in rest]
    if what == "history":
        answer = history(int(numbers[0]), int(numbers[1]))
    elif what == "load":
        answer = load(numbers[0], int(numbers[1]), bool(numbers[2]))
    else:
        answer = check(int(numbers[0]))
    print(json.dumps(answer))
