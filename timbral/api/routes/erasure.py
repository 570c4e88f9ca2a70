"""DELETE /users/{user_id} and GET …/export: what is stored of a user, and its removal. Both need the token for
writing."""

from __future__ import annotations

import json
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

import producers
from producers.erasure import enqueue_export_user, take_export
from timbral.api.context import Context
from timbral.api.ids import UserIdInUrl
from timbral.api.refusals import Refused, responses
from timbral.api.routes.tasks import LINKS, EnqueuedAnswer
from timbral.errors import JobTimeoutError

__all__ = ["router"]

router = APIRouter(tags=["privacy"])

EXPORT_TIMEOUT_S = 20.0
"""Less than a request may take."""


class ExportAnswer(BaseModel):
    """All that is stored of a user; new fields may come."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "user_id": "2",
                    "exported_at": "2026-03-01T12:00:00+00:00",
                    "is_forgotten": False,
                    "recommendations": [{"item_id": 289, "score": 0.83}],
                    "lists_from_sets": {},
                    "embedding": None,
                    "new_plays": [],
                    "blocked_items": [],
                    "on_their_way": [],
                    "history": [],
                    "models": [],
                }
            ]
        },
    )
    user_id: str = Field(description="The user's id, as it stands in the URL.")
    exported_at: str = Field(description="When it was gathered.")
    is_forgotten: bool = Field(description="Whether the user was forgotten, and is kept out.")
    recommendations: Any = Field(description="The list in the cache.")
    lists_from_sets: dict[str, Any] = Field(description="Lists in the cache from item sets, by the sets' names.")
    embedding: Any = Field(description="The vector in the cache.")
    new_plays: list[dict[str, Any]] = Field(description="Plays that wait for the next training.")
    blocked_items: list[Any] = Field(description="Items that the user must not get.")
    on_their_way: list[dict[str, Any]] = Field(description="What waits in queues and names the user.")
    history: list[dict[str, Any]] = Field(description="Every recorded play.")
    models: list[dict[str, Any]] = Field(
        description="What each model version was trained on, and the user's vector in it."
    )


@router.delete(
    "/users/{user_id}",
    status_code=202,
    response_model=EnqueuedAnswer,
    responses={
        202: {
            "description": "On the queue.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the job is followed."}},
            "links": LINKS,
        },
        **responses(422),
    },
    summary="Forget a user",
)
async def delete_user(user_id: UserIdInUrl) -> Response:
    """Remove all that is stored of the user, and keep them out from then on. The job's result is a receipt, which names
    nobody."""
    job = await run_in_threadpool(producers.forget_user, user_id)
    return Response(
        EnqueuedAnswer(id=job.id).model_dump_json(), 202, {"location": f"/jobs/{job.id}"}, "application/json"
    )


@router.get(
    "/users/{user_id}/export",
    response_model=ExportAnswer,
    responses=responses(422),
    summary="All that is stored of a user",
)
async def get_export(context: Context, user_id: UserIdInUrl) -> Response:
    """Gathered by a worker, of which 503 says that none did it in time. Needs the token for writing."""

    def ask() -> dict[str, Any]:
        job = enqueue_export_user(user_id)
        job.wait(EXPORT_TIMEOUT_S)
        return take_export(job)

    try:
        found = await run_sync(ask, limiter=context.job_threads)
    except JobTimeoutError:
        raise Refused(503, f"No worker gathered it within {EXPORT_TIMEOUT_S:g} s; try again") from None
    return Response(json.dumps(found).encode(), media_type="application/json")
