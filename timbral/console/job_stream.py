"""Jobs as they move, in streams of HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastapi.responses import StreamingResponse
from markupsafe import Markup

from producers.connections import connections
from timbral.api.context import ApiContext
from timbral.console.html_stream import stream_html
from timbral.console.plots import Series, line_plot
from timbral.console.readers.jobs import JobDetail, read_job, read_open
from timbral.console.readers.models import loss_series, read_version
from timbral.console.rendering import render_text
from timbral.errors import ModelNotFoundError

__all__ = ["curve_of", "loss_plot", "stream_job", "stream_open"]

_SWEEP = re.compile(r"^(\w+): sweep (\d+), loss ([0-9.e+-]+)$")

Point = tuple[str, float, float]


def stream_open(context: ApiContext) -> StreamingResponse:
    """The open jobs, anew whenever something has moved."""

    def look() -> tuple[str, bool]:
        return render_text("jobs_open.html", jobs=read_open()), False

    return stream_html(context, look)


def stream_job(context: ApiContext, job_id: str) -> StreamingResponse:
    """One job until it is done; the losses that a training tells meanwhile grow into a curve."""
    points: list[Point] = []

    def look() -> tuple[str, bool]:
        job = read_job(job_id)
        if job is None:
            return "", True
        told = _SWEEP.match(job.row.text)
        if told is not None:
            point = (told[1], float(told[2]), float(told[3]))
            if point not in points[-1:]:
                points.append(point)
        return render_text("job_now.html", job=job, plot=curve_of(job) or loss_plot(points)), job.final

    return stream_html(context, look)


def curve_of(job: JobDetail) -> Markup | None:
    """The losses of a training that is done, as its version's record has them; None for any other job."""
    version = (job.answer or {}).get("model_version") if job.row.task == "train_model" else None
    if not isinstance(version, str):
        return None
    try:
        with connections().asking() as client:
            series = loss_series(read_version(client, version))
    except ModelNotFoundError:  # deleted since
        return None
    return line_plot("Loss after each sweep", series, x_label="Sweep", y_label="Loss")


def loss_plot(points: Sequence[Point]) -> Markup | None:
    """The losses seen so far, a line for each fit of the training; None before there are two."""
    if len(points) < 2:
        return None
    names = dict.fromkeys(name for name, _, _ in points)
    series = [Series(name, [(sweep, loss) for one, sweep, loss in points if one == name]) for name in names]
    return line_plot("Loss after each sweep, since this page was opened", series, x_label="Sweep", y_label="Loss")
