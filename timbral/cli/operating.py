"""``timbral health``: Redis, the queues, the workers and the model, in one look."""

from __future__ import annotations

import calendar
import time
from typing import Any, Final

import redis
import typer

from producers.connections import connections
from timbral import keys
from timbral.cli.output import AsJson, print_answer, print_json
from timbral.config.settings import public_address
from timbral.queue import layout
from timbral.replies import server_now_s
from timbral.utils.redis_connector import RedisConnector

__all__ = ["register"]

ALIVE_S: Final = 30
"""A worker that has not shown for this long that it takes tasks is not counted."""
REDIS_AWAY: Final = 3


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command(rich_help_panel="Operate")(health)


def health(as_json: AsJson = False) -> None:
    """Say how Redis, the queues, the workers and the model are; exit code 3 where Redis is away.

    $ timbral health

    $ timbral health --json
    """
    reached = connections()
    reports = {"cache": reached.settings.redis_url}
    if reached.queue_is_apart:
        reports["queue"] = reached.settings.broker_url
    report: dict[str, Any] = {"status": "healthy"}
    for name, url in reports.items():
        with RedisConnector(url) as connector:
            report[name] = {"address": public_address(url), **connector.health_check()}
        if report[name]["status"] != "healthy":
            report["status"] = "unhealthy"
    if report["status"] == "healthy":
        with reached.asking(results=True) as queue, reached.asking() as cache:
            report |= _fleet(queue, cache)
    if as_json:
        print_json(report)
    else:
        print_answer(report)
    if report["status"] != "healthy":
        raise typer.Exit(REDIS_AWAY)


def _fleet(queue: redis.Redis, cache: redis.Redis) -> dict[str, Any]:
    waiting = {name: _length(queue, name) for name in layout.QUEUES}
    now = server_now_s(queue)
    names: Any = queue.zrangebyscore(keys.WORKERS, now - ALIVE_S, "+inf")
    current: Any = cache.get(keys.MODEL_CURRENT)
    return {
        "waiting": waiting,
        "in_hand": queue.hlen(layout.UNACKED),
        "dead_letters": queue.zcard(keys.DEAD_LETTERS),
        "open_jobs": cache.zcard(keys.JOBS_OPEN),
        "workers": sorted(name.decode() for name in names),
        "model": None if current is None else current.decode(),
        "model_age_s": _age_s(current),
    }


def _length(queue: redis.Redis, name: str) -> int:
    return sum(int(queue.llen(key)) for key in layout.queue_keys(name))


def _age_s(version: bytes | None) -> int | None:
    if version is None:
        return None
    try:
        trained = time.strptime(version.decode().partition("-")[0] + "UTC", "%Y%m%dT%H%M%S%Z")
    except ValueError:
        return None
    return int(time.time() - calendar.timegm(trained))
