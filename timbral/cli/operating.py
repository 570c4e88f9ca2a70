"""``timbral health``: Redis, the queues, the workers and the model, in one look."""

from __future__ import annotations

from typing import Any, Final

import typer

from producers.connections import connections
from timbral.cli.output import AsJson, hint, print_answer, print_json
from timbral.config.settings import public_address
from timbral.queue.fleet_state import read_fleet_state
from timbral.utils.redis_connector import RedisConnector

__all__ = ["register"]

DEGRADED: Final = 1
REDIS_AWAY: Final = 3


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command(rich_help_panel="Operate")(health)


def health(as_json: AsJson = False) -> None:
    """Check Redis, the queues, the workers and the model.

    Exit code 0 where all is well, 1 without workers, without a model, with parked messages or with a Redis that may
    evict the queue, refuses writes or is short of connections (it says which), 3 where Redis is away.

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
            state = read_fleet_state(queue, cache)
        report |= state.report()
        silent = {name: limits for name, limits in state.servers.items() if limits.is_silent}
        report["problems"] += [f"{name}: {text}" for name, limits in silent.items() for text in limits.problems()]
    problems = report.get("problems", [])
    if as_json:
        print_json(report)
    else:
        print_answer({name: value for name, value in report.items() if name != "problems" and value not in ("", {})})
        for problem in problems:
            hint(f"timbral: {problem}")
    if report["status"] != "healthy":
        raise typer.Exit(DEGRADED if report["status"] == "degraded" else REDIS_AWAY)
