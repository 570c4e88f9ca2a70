"""The state of the fleet: the one reader of it, for ``timbral health``, the metrics, the HTTP API and its page.

Everything is read from Redis with commands that look and change nothing, in a few round trips.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import redis

from timbral import keys
from timbral.queue import layout
from timbral.redis_server.limits import RedisLimits
from timbral.redis_server.replies import server_now_s, text, texts

__all__ = ["ALIVE_S", "TRAININGS", "FleetState", "Live", "alive_workers", "read_fleet_state"]

ALIVE_S: Final = 30.0
"""A worker whose last liveness note is older, in seconds, takes no tasks."""
TRAININGS: Final = ("promoted", "held_back", "not_asked")
"""How a training ends that does not fail: live, refused by the gate or overtaken, or not meant to go live."""


@dataclass(frozen=True)
class Live:
    """The model that is live.

    Attributes:
        version: its name.
        age_s: seconds since it was trained; None where its record does not say.
        metrics: of its training's held-out rows, by ``ndcg@20`` and so on; empty where nothing was held out.
        verdict: what the gate said of it; empty where nothing was said.
    """

    version: str
    age_s: float | None
    metrics: Mapping[str, float]
    verdict: str


@dataclass(frozen=True)
class FleetState:
    """What Redis says of the fleet.

    Attributes:
        waiting: messages that wait, by queue, over all priorities.
        in_hand: messages that workers hold and have not acknowledged.
        dead_letters: messages that are parked.
        workers: node names of the workers that take tasks, each with the seconds since its last liveness note.
        open_jobs: fanned-out jobs that run.
        submitted: tasks sent by producers whose effect is not there yet.
        users_with_new_plays: users with plays that no training has seen.
        trainings: how many trainings ended how, since the beginning; each of TRAININGS is in it.
        model: the model that is live, None before the first.
        servers: what each Redis says of itself, by name.
    """

    waiting: Mapping[str, int]
    in_hand: int
    dead_letters: int
    workers: Mapping[str, float]
    open_jobs: int
    submitted: int
    users_with_new_plays: int
    trainings: Mapping[str, int]
    model: Live | None
    servers: Mapping[str, RedisLimits]

    @property
    def problems(self) -> list[str]:
        """What a person should look at, a sentence each; empty where the fleet does its work."""
        found = [
            f"{name}: {problem}"
            for name, limits in self.servers.items()
            if not limits.is_silent  # what cannot be checked is no fault
            for problem in limits.problems()
        ]
        if not self.workers:
            waiting = sum(self.waiting.values())
            found.append("no worker takes tasks" + (f"; waiting: {_counted(waiting, 'message')}" if waiting else ""))
        if self.model is None:
            found.append("no model is live: timbral train DATASET")
        if self.dead_letters:
            found.append(f"{_counted(self.dead_letters, 'message')} parked: timbral dead-letters list")
        return found

    @property
    def status(self) -> str:
        """healthy, or degraded where there are problems."""
        return "degraded" if self.problems else "healthy"

    def report(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        model = self.model
        age_s = None if model is None or model.age_s is None else int(model.age_s)
        return {
            "status": self.status,
            "problems": self.problems,
            **{name: value for name, value in asdict(self).items() if name != "servers"},
            "workers": sorted(self.workers),
            "model": None if model is None else model.version,
            "model_age_s": age_s,
            "model_metrics": {} if model is None else dict(model.metrics),
            "model_verdict": "" if model is None else model.verdict,
        }


def read_fleet_state(queue: redis.Redis, cache: redis.Redis) -> FleetState:
    """The state now.

    Args:
        queue: client of the Redis of the queue.
        cache: client of the Redis of versions, jobs and plays; the same one in most places.

    Raises:
        redis.RedisError: one of them is away, or refuses.
    """
    servers = {"Redis": RedisLimits.read(cache)}
    if queue is not cache:
        servers["Redis of the queue"] = RedisLimits.read(queue)
    return FleetState(**_of_the_queue(queue), **_of_the_cache(cache), servers=servers)


def _of_the_queue(queue: redis.Redis) -> dict[str, Any]:
    with queue.pipeline(transaction=False) as pipe:
        for key in layout.all_queue_keys():
            pipe.llen(key)
        pipe.zcard(layout.UNACKED_INDEX)
        pipe.zcard(keys.DEAD_LETTERS)
        *lengths, held, letters = pipe.execute()
    n_steps = len(layout.PRIORITY_STEPS)
    return {
        "waiting": {name: sum(lengths[i * n_steps : (i + 1) * n_steps]) for i, name in enumerate(layout.QUEUES)},
        "in_hand": held,
        "dead_letters": letters,
        "workers": alive_workers(queue),
    }


def alive_workers(queue: redis.Redis) -> dict[str, float]:
    """Node names of the workers that take tasks, each with the seconds since its last liveness note."""
    now = server_now_s(queue)
    found: Any = queue.zrangebyscore(keys.WORKERS, now - ALIVE_S, "+inf", withscores=True)
    return {text(name): max(0.0, now - at) for name, at in found}


def _of_the_cache(cache: redis.Redis) -> dict[str, Any]:
    version = text(cache.get(keys.MODEL_CURRENT))
    with cache.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.JOBS_OPEN)
        pipe.hlen(keys.SUBMITTED)
        pipe.scard(keys.PLAYS_USERS)
        pipe.hgetall(keys.TRAININGS_ENDED)
        pipe.get(keys.model_metadata(version))
        jobs, submitted, users, ended, record = pipe.execute()
    counted = texts(ended)
    return {
        "open_jobs": jobs,
        "submitted": submitted,
        "users_with_new_plays": users,
        "trainings": {outcome: int(counted.get(outcome, 0)) for outcome in TRAININGS},
        "model": _live(version, record) if version else None,
    }


def _live(version: str, record: Any) -> Live:
    try:
        known = json.loads(text(record) or "{}")
    except ValueError:
        known = {}
    known = known if isinstance(known, dict) else {}
    metrics, verdict = known.get("metrics"), known.get("verdict")
    numbers = metrics.items() if isinstance(metrics, dict) else ()
    return Live(
        version,
        _age_s(known.get("created_at")),
        {str(name): float(value) for name, value in numbers if isinstance(value, int | float)},
        str(verdict.get("outcome", "")) if isinstance(verdict, dict) else "",
    )


def _age_s(created_at: Any) -> float | None:
    try:
        at = created_at if isinstance(created_at, int | float) else datetime.fromisoformat(created_at).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, time.time() - at)


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
