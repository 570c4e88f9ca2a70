"""GET /health, /ready and /metrics: for the machines that run and watch the API."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

import timbral
from timbral import keys
from timbral.api.context import Context
from timbral.api.metrics import exposition
from timbral.api.refusals import ErrorAnswer, redis_away, responses

__all__ = ["router"]

router = APIRouter(tags=["running"])


class FleetAnswer(BaseModel):
    """What Redis says of the fleet: counts alone, for this is open to everybody."""

    status: Literal["healthy", "degraded"] = Field(description="`degraded` where there are problems.")
    problems: list[str] = Field(
        description="What a person should look at: no workers, no model, parked messages, a Redis that is full."
    )
    workers: int = Field(description="Workers that take tasks.")
    waiting: dict[str, int] = Field(description="Messages that wait, by queue.")
    in_hand: int = Field(description="Messages that workers hold.")
    dead_letters: int = Field(description="Messages that are parked.")
    open_jobs: int = Field(description="Fanned-out jobs that run.")
    model: str | None = Field(description="The version that is live.")
    model_age_s: int | None = Field(description="Seconds since it was trained.")


class Alive(BaseModel):
    """The process answers."""

    status: str = Field("alive", description="Always `alive`.")
    version: str = Field(description="timbral's version.")
    fleet: FleetAnswer | None = Field(
        description="The fleet's state; null where Redis does not tell it within a second."
    )


class Ready(BaseModel):
    """The API can do its work."""

    status: str = Field("ready", description="Always `ready`.")
    model_version: str | None = Field(description="The model that is live; null before the first training.")


@router.get("/health", summary="Is the process alive?", response_model=Alive)
async def get_health(context: Context) -> Alive:
    """200 as long as the process answers, whatever Redis and the fleet do: restarting the API would not bring them
    back."""
    state = await context.fleet.state()
    fleet = None if state is None else FleetAnswer(**{**state.report(), "workers": len(state.workers)})
    return Alive(status="alive", version=timbral.__version__, fleet=fleet)


@router.get(
    "/ready",
    summary="Can it do its work?",
    response_model=Ready,
    responses={503: {"model": ErrorAnswer, "description": "Redis cannot be reached."}},
)
async def get_ready(context: Context) -> Ready | Response:
    """200 when Redis answers; an API without a model is ready too, to take the first training."""
    try:
        version: Any = await context.redis.get(keys.MODEL_CURRENT)
    except (RedisError, OSError) as error:
        return redis_away(context.settings.redis_url, error)
    return Ready(status="ready", model_version=None if version is None else version.decode("utf-8", "replace"))


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={**responses(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics() -> Response:
    """Requests, durations and where lists came from, of all processes of this API together."""
    return Response(await run_in_threadpool(exposition), media_type=CONTENT_TYPE_LATEST)
