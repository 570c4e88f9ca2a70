"""The screens of the jobs: what waits, runs and ended; started, cancelled and sent again from here."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

import producers
from producers.enqueue import enqueue
from timbral.api.context import Context
from timbral.api.refusals import Refused
from timbral.console.changes import changed
from timbral.console.job_stream import curve_of, stream_job, stream_open
from timbral.console.paging import page_of
from timbral.console.readers.jobs import JobDetail, read_ended, read_job, read_open
from timbral.console.rendering import render
from timbral.messages import MESSAGES

__all__ = ["router"]

router = APIRouter(prefix="/console/jobs", include_in_schema=False)

PER_PAGE = 20
TAKEN_OF_A_FORM = ("dataset", "settings")
STARTED_HERE = ("train_model", "compute_recommendations", "refresh_embeddings")


@router.get("")
def get_jobs(request: Request) -> Response:
    """Open jobs, as they are now and as they move, and a page of those that ended."""
    asked = request.query_params.get("page")
    jobs = read_open()
    ended, total = read_ended(PER_PAGE, 0)
    page = page_of(asked, PER_PAGE, total)
    if page.number > 1:
        ended, _ = read_ended(PER_PAGE, page.first)
    return render(request, "jobs.html", jobs=jobs, ended=ended, page=page)


@router.get("/events")
async def get_open_events(context: Context) -> StreamingResponse:
    """The open jobs as a stream of HTML."""
    return stream_open(context)


@router.post("/start")
def post_start(request: Request) -> Response:
    """Put a task on the queue."""
    form = dict(request.state.form)
    task = form.pop("task", "")
    if task not in STARTED_HERE:
        raise Refused(422, f"No task {task!r} to start here; there are {', '.join(STARTED_HERE)}")
    arguments = {name: text for name, text in form.items() if text and name in TAKEN_OF_A_FORM}
    job = enqueue(MESSAGES[task], arguments)
    return changed(request, "started", f"/console/jobs/{job.id}", task)


@router.get("/{job_id}")
def get_job(request: Request, job_id: str) -> Response:
    """One job."""
    job = _known(job_id)
    return render(request, "job.html", job=job, plot=curve_of(job))


@router.get("/{job_id}/events")
async def get_job_events(context: Context, job_id: str) -> StreamingResponse:
    """One job as a stream of HTML."""
    return stream_job(context, job_id)


@router.post("/{job_id}/cancel")
def post_cancel(request: Request, job_id: str) -> Response:
    """Cancel a job: it is not begun if it waits, and ends at its next step if it runs."""
    _known(job_id)
    producers.job(job_id).cancel()
    return changed(request, "cancelled", f"/console/jobs/{job_id}", job_id)


@router.post("/{job_id}/again")
def post_again(request: Request, job_id: str) -> Response:
    """Send what an ended job was asked once more, as a job of its own."""
    ended = _known(job_id).ended
    if ended is None or ended.arguments is None:
        raise Refused(409, f"What job {job_id} was asked is not kept, so it cannot be sent again from here")
    job = enqueue(MESSAGES[ended.task], ended.arguments)
    return changed(request, "sent again", f"/console/jobs/{job.id}", job_id, job=job.id)


def _known(job_id: str) -> JobDetail:
    found = read_job(job_id[:200])
    if found is None:
        raise Refused(404, f"No job {job_id[:80]!r}: it was never sent, or its result has expired")
    return found
