"""POST /plays: what users have played goes straight into Redis, and their lists follow."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

import producers
from timbral.api.json_body import object_in
from timbral.api.refusals import responses
from timbral.messages import RecordPlays, read_message

__all__ = ["RecordedAnswer", "router"]

router = APIRouter(tags=["plays"])

EXAMPLES = {
    "a play": {"value": {"plays": [{"user_id": 2, "item_id": 51}]}},
    "with all it may have": {
        "value": {
            "plays": [
                {"user_id": 2, "item_id": 51, "plays": 3, "at": "2026-03-01T20:15:00Z", "event_id": "c0ffee-1"},
            ]
        }
    },
}


class RecordedAnswer(BaseModel):
    """The plays are in Redis."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"recorded": 1, "duplicates": 0}]})
    recorded: int = Field(description="Plays that were new.")
    duplicates: int = Field(description="Plays whose event_id was recorded before; they count once.")


@router.post(
    "/plays",
    response_model=RecordedAnswer,
    summary="Record plays",
    responses=responses(400, 408, 413, 415, 422),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"examples": EXAMPLES}}}},
)
async def post_plays(request: Request) -> RecordedAnswer:
    """Each play is recorded once. The users' vectors and lists follow within milliseconds; the next training learns
    from them."""
    checked = read_message(RecordPlays, await object_in(request), strict=True)
    recorded = await run_in_threadpool(producers.record_plays, checked.plays)
    return RecordedAnswer(recorded=recorded, duplicates=len(checked.plays) - recorded)
