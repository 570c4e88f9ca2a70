"""POST /tasks/{task}: put a task on the queue, with the arguments that producers and workers check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

import producers
from timbral.api.json_body import object_in
from timbral.api.refusals import responses
from timbral.messages import ComputeRecommendations, Message, RefreshEmbeddings, TrainModel, TuneModel, read_message

__all__ = ["EnqueuedAnswer", "router"]

router = APIRouter(tags=["tasks"])

EXAMPLES: dict[type[Message], dict[str, dict[str, Any]]] = {
    TrainModel: {
        "all recorded plays": {"value": {}},
        "a csv file": {"value": {"dataset": "plays.csv"}},
        "other columns": {
            "value": {
                "dataset": "user_artists.dat",
                "format": "csv",
                "separator": "\t",
                "user_col": "userID",
                "item_col": "artistID",
                "value_col": "weight",
            }
        },
    },
    TuneModel: {
        "half an hour": {"value": {"dataset": "plays.csv", "minutes": 30}},
        "all recorded plays, 50 trials": {"value": {"trials": 50}},
    },
    ComputeRecommendations: {
        "everybody": {"value": {}},
        "two users": {"value": {"user_ids": [2, 3], "top_k": 20}},
    },
    RefreshEmbeddings: {
        "everything": {"value": {}},
        "a play": {"value": {"plays": [{"user_id": 2, "item_id": 51, "plays": 1}]}},
    },
}


LINKS = {
    name: {"operationId": f"{name}_job", "parameters": {"job_id": "$response.body#/id"}} for name in ("get", "delete")
}


class EnqueuedAnswer(BaseModel):
    """The task is on the queue."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "0b8a1f6e-5d0c-4a52-9d1e-2f1c5f6f7a10"}]})
    id: str = Field(description="The job's id; its place is in the Location header.")


def _add_route(message: type[Message], enqueue: Callable[..., producers.Job]) -> None:
    async def post_task(request: Request) -> Response:
        arguments = await object_in(request)
        checked = read_message(message, arguments, strict=True)
        job = await run_in_threadpool(enqueue, **checked.kwargs())
        return Response(
            EnqueuedAnswer(id=job.id).model_dump_json(), 202, {"location": f"/jobs/{job.id}"}, "application/json"
        )

    post_task.__doc__ = (message.__doc__ or "").strip()
    endpoint: Callable[[Request], Awaitable[Response]] = post_task
    router.add_api_route(
        f"/tasks/{message.task}",
        endpoint,
        methods=["POST"],
        status_code=202,
        response_model=EnqueuedAnswer,
        summary=f"Enqueue {message.task}",
        name=f"post_{message.task}",
        responses={
            202: {
                "description": "On the queue.",
                "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the job is followed."}},
                "links": LINKS,
            },
            **responses(400, 408, 413, 415, 422),
        },
        openapi_extra={
            "requestBody": {
                "required": any(field.is_required() for field in message.model_fields.values()),
                # description.py puts the schema there: FastAPI would make floats of the 64-bit bounds.
                "content": {"application/json": {"examples": EXAMPLES[message]}},
            }
        },
    )


_add_route(TrainModel, producers.enqueue_train_model)
_add_route(TuneModel, producers.enqueue_tune_model)
_add_route(ComputeRecommendations, producers.enqueue_compute_recommendations)
_add_route(RefreshEmbeddings, producers.enqueue_refresh_embeddings)
