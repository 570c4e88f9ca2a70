"""GET /jobs/{id}/events: a job's progress as server-sent events, until it is done."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from timbral.api.context import ApiContext, Context
from timbral.api.refusals import Refused, responses
from timbral.api.routes.jobs import JobAnswer, JobId, read_job
from timbral.api.streams import HEARTBEAT_S, LONGEST_S
from timbral.errors import TimbralError

__all__ = ["router"]

router = APIRouter(tags=["jobs"])

LOOK_EVERY_S = 0.25


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`event: progress` on each change, then `event: done`; each with the job as data.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "examples": {
                        "a job": {
                            "value": 'event: progress\ndata: {"id":"…","state":"STARTED",…}\n\n'
                            'event: done\ndata: {"id":"…","state":"SUCCESS",…}\n\n'
                        }
                    },
                }
            },
        },
        **responses(404, 422),
    },
    summary="A job's progress as a stream",
)
async def get_events(context: Context, job_id: JobId) -> StreamingResponse:
    """Server-sent events. A comment line comes every few seconds while nothing changes, so that proxies keep the line
    open."""
    first = await read_job(context, job_id)
    context.streams.check_room(f"ask GET /jobs/{job_id} meanwhile")
    return StreamingResponse(
        _events(context, first), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )


async def _events(context: ApiContext, job: JobAnswer) -> AsyncIterator[str]:
    with context.streams.one():
        began = spoke = time.monotonic()
        shown = None
        while True:
            text, now = job.as_json(), time.monotonic()
            if job.final:
                yield f"event: done\ndata: {text}\n\n"
                return
            if text != shown:
                yield f"event: progress\ndata: {text}\n\n"
                shown, spoke = text, now
            elif now - spoke > HEARTBEAT_S:
                yield ": still there\n\n"
                spoke = now
            if now - began > LONGEST_S or await context.streams.closing_within(LOOK_EVERY_S):
                return
            try:
                job = await read_job(context, job.id)
            except Refused:  # its records have expired under us
                return
            except TimbralError:  # Redis is away: the fleet sits it out, and so do we
                continue
