"""GET, DELETE /jobs/{id}: follow a task, and cancel it. The stream of it is in ``timbral.api.routes.events``."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

import producers
from producers.jobs import DONE_STATES
from timbral.api.context import ApiContext, Context
from timbral.api.refusals import Refused, responses
from timbral.errors import RedisUnavailableError, TimbralError

__all__ = ["JobAnswer", "JobId", "read_job", "router"]

router = APIRouter(tags=["jobs"])
JobId = Annotated[
    str,
    Path(
        description="The id that POST /tasks/… gave.",
        pattern=r"^[0-9A-Za-z._:-]{1,128}$",
        examples=["0b8a1f6e-5d0c-4a52-9d1e-2f1c5f6f7a10"],
    ),
]


class JobProgress(BaseModel):
    """How far a job is: 0 of 0 where it has not said."""

    done: int
    total: int
    text: str = Field(description="The same in words.")


class JobFailure(BaseModel):
    """Why a job failed."""

    error: str = Field(description="The error's class, one of timbral.errors.")
    message: str


class JobAnswer(BaseModel):
    """A job as it is now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0b8a1f6e-5d0c-4a52-9d1e-2f1c5f6f7a10",
                    "task": "compute_recommendations",
                    "state": "SUCCESS",
                    "progress": {"done": 1892, "total": 1892, "text": "1892/1892 users"},
                    "result": {"users_done": 1892, "users_unknown": 0},
                    "error": None,
                }
            ]
        }
    )
    id: str
    task: str | None = Field(description="The task's name; null until a worker has stored it.")
    state: str = Field(description="PENDING, STARTED, PROGRESS, RETRY, then SUCCESS, FAILURE or REVOKED (cancelled).")
    progress: JobProgress
    result: dict[str, Any] | None = Field(None, description="The task's answer, once its state is SUCCESS.")
    error: JobFailure | None = Field(None, description="Why, once its state is FAILURE or REVOKED.")

    def as_json(self) -> str:
        """JSON text, whatever a worker's texts hold: half a surrogate pair (of a file's name, say) is shown escaped."""
        try:
            return self.model_dump_json()
        except PydanticSerializationError:
            return JobAnswer.model_validate(_characters_alone(self.model_dump())).model_dump_json()

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in DONE_STATES


@router.get("/jobs/{job_id}", response_model=JobAnswer, responses=responses(404, 422), summary="How far a job is")
async def get_job(context: Context, job_id: JobId) -> Response:
    """State and progress, then the result or the error. 404 for a job that was never sent or whose result has
    expired."""
    return Response((await read_job(context, job_id)).as_json(), media_type="application/json")


@router.delete(
    "/jobs/{job_id}",
    response_model=JobAnswer,
    status_code=202,
    responses={202: {"description": "The fleet has been told."}, **responses(404, 422)},
    summary="Call a job off",
)
async def delete_job(context: Context, job_id: JobId) -> Response:
    """A job that waits is not begun; one that runs stops at its next step. One that is done stays as it is."""
    known = await read_job(context, job_id)
    if not known.final:
        await run_in_threadpool(producers.job(job_id).cancel)
        known = await read_job(context, job_id)
    return Response(known.as_json(), 202, media_type="application/json")


async def read_job(context: ApiContext, job_id: str) -> JobAnswer:
    """The job as it is now.

    Raises:
        Refused: 404, nothing is known of it.
        RedisUnavailableError: Redis is away.
    """
    answer = await run_sync(_read, job_id, limiter=context.job_threads)
    if answer is None:
        raise Refused(404, f"No job {job_id!r}: it was never sent, or its result has expired")
    return answer


def _read(job_id: str) -> JobAnswer | None:
    job = producers.job(job_id)
    # The state first: what is read after it is as new, so a result is never missing from a final state.
    state, task, progress = job.state, job.task, job.progress
    if state == "PENDING" and task is None and not job.is_known:
        return None
    answer = JobAnswer(id=job_id, task=task, state=state, progress=JobProgress(**progress._asdict()))
    if state in DONE_STATES:
        try:
            answer.result = job.result
        except RedisUnavailableError as error:
            # The task's own error, or ours just now? Only the second one has a cause.
            if error.__cause__ is not None:
                raise
            answer.error = _failure(error)
        except TimbralError as error:
            answer.error = _failure(error)
    return answer


def _characters_alone(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_characters_alone(one) for one in value]
    if isinstance(value, dict):
        return {_characters_alone(name): _characters_alone(one) for name, one in value.items()}
    return value


def _failure(error: TimbralError) -> JobFailure:
    return JobFailure(error=type(error).__name__, message=str(error))
