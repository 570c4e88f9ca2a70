"""GET /health, /ready and /metrics: for the machines that run and watch the API."""

from __future__ import annotations

from typing import Any

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


class Alive(BaseModel):
    """The process answers."""

    status: str = Field("alive", description="Always `alive`.")
    version: str = Field(description="timbral's version.")


class Ready(BaseModel):
    """The API can do its work."""

    status: str = Field("ready", description="Always `ready`.")
    model_version: str | None = Field(description="The model that is live; null before the first training.")


@router.get("/health", summary="Is the process alive?", response_model=Alive)
async def get_health() -> Alive:
    """200 as long as the process answers, whatever Redis does: restarting the API would not bring Redis back."""
    return Alive(status="alive", version=timbral.__version__)


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
    """Requests, durations and where lists came from, of all processes of this context together."""
    return Response(await run_in_threadpool(exposition), media_type=CONTENT_TYPE_LATEST)
