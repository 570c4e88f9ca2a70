"""The screens of the searches for settings: what runs and what was found, and one with its trials as they come."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from producers.enqueue import enqueue
from timbral.api.context import Context
from timbral.api.refusals import Refused
from timbral.console.changes import changed
from timbral.console.html_stream import stream_html
from timbral.console.plots import line_plot, share_plot
from timbral.console.readers.searches import SearchDetail, read_search, read_searches
from timbral.console.rendering import render, render_text
from timbral.messages import TuneModel

__all__ = ["router"]

router = APIRouter(prefix="/console/tuning", include_in_schema=False)


@router.get("")
def get_searches(request: Request) -> Response:
    """What is kept, what runs, what ended."""
    return render(request, "tuning.html", found=read_searches())


@router.post("/start")
def post_start(request: Request) -> Response:
    """Begin a search with a budget of minutes, of trials, or of both."""
    form = request.state.form
    arguments: dict[str, Any] = {}
    if form.get("dataset", "").strip():
        arguments["dataset"] = form["dataset"].strip()
    for name, kind in (("minutes", float), ("trials", int)):
        given = form.get(name, "").strip()
        try:
            if given:
                arguments[name] = kind(given)
        except ValueError:
            raise Refused(422, f"{name} must be a number, got {given[:40]!r}") from None
    job = enqueue(TuneModel, arguments)
    return changed(request, "started", f"/console/tuning/{job.id}", TuneModel.task)


@router.get("/{job_id}")
def get_search(request: Request, job_id: str) -> Response:
    """One search."""
    return render(request, "search.html", **_shown(_known(job_id)))


@router.get("/{job_id}/events")
async def get_search_events(context: Context, job_id: str) -> StreamingResponse:
    """The same as a stream of HTML."""

    def look() -> tuple[str, bool]:
        one = _known(job_id)
        return render_text("search_now.html", **_shown(one)), one.job.final

    await run_in_threadpool(_known, job_id)
    return stream_html(context, look)


def _shown(one: SearchDetail) -> dict[str, Any]:
    plot = line_plot("Quality of the trials", one.series(), x_label="Trial", y_label="Mean of recall and NDCG at 20")
    mattered = share_plot("What mattered", list(one.importances.items()))
    return {"one": one, "plot": plot, "mattered": mattered}


def _known(job_id: str) -> SearchDetail:
    found = read_search(job_id[:200])
    if found is None:
        raise Refused(404, f"No search {job_id[:80]!r}: it was never sent, or its result has expired")
    return found
