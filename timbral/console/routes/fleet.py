"""The screen of the fleet: workers, queues, what gets done, and how Redis is."""

from __future__ import annotations

from collections import Counter

from fastapi import APIRouter, Request, Response

from producers.connections import connections
from timbral.api.context import Context
from timbral.config.settings import public_address
from timbral.console.rendering import render
from timbral.queue import ended_jobs
from timbral.queue.fleet_state import read_fleet_state
from timbral.redis_server.replies import server_now_s

__all__ = ["router"]

router = APIRouter(prefix="/console/fleet", include_in_schema=False)

HOUR_S = 3_600


@router.get("")
def get_fleet(request: Request, context: Context) -> Response:
    """The screen."""
    return _fleet(request, context, "fleet.html")


@router.get("/now")
def get_now(request: Request, context: Context) -> Response:
    """The part of it that moves."""
    return _fleet(request, context, "fleet_now.html")


def _fleet(request: Request, context: Context, template: str) -> Response:
    reached = connections()
    with reached.asking(results=True) as queue, reached.asking() as cache:
        state = read_fleet_state(queue, cache)
        ended, now = ended_jobs.list_ended(queue, ended_jobs.KEPT), server_now_s(queue)
    urls = [reached.settings.redis_url, reached.settings.broker_url]
    servers = [(name, public_address(url), state.servers[name]) for name, url in zip(state.servers, urls, strict=False)]
    recent = Counter((one.task, one.state) for one in ended if now - one.ended_at < HOUR_S)
    links = [("Flower", context.settings.FLOWER_URL), ("Grafana", context.settings.GRAFANA_URL)]
    return render(request, template, state=state, servers=servers, recent=sorted(recent.items()), links=links)
