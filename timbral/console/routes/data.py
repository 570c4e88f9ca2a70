"""The screen of the data: what comes in, what the history has, what the live model was trained on."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response

from producers.connections import connections
from timbral.api.context import Context
from timbral.console.plots import bar_plot
from timbral.console.readers.names import live_record
from timbral.console.rendering import render
from timbral.console.report import tail_plot
from timbral.errors import HistoryError, ModelFileError, ModelNotFoundError
from timbral.plays.imports import read_imports
from timbral.plays.state import read_plays_state

__all__ = ["router"]

router = APIRouter(prefix="/console/data", include_in_schema=False)

N_DAYS = 30
FRESH_S = 30.0
_history: dict[str, tuple[float, dict[str, Any]]] = {}


@router.get("")
def get_data(request: Request) -> Response:
    """What Redis knows of plays and of the live model; the history comes after, for it may be far away."""
    with connections().asking() as client:
        plays = read_plays_state(client)
        imports = read_imports(client)
    return render(request, "data.html", plays=plays, imports=imports, record=live_record())


@router.get("/history")
def get_history(request: Request) -> Response:
    """Plays a day and a month, and the table's size."""
    from timbral.history.location import open_history

    try:
        found = _read_history(open_history())
    except HistoryError as error:
        return render(request, "part_problem.html", problem=f"The history cannot be read from here: {error}")
    days = bar_plot(
        "Plays a day", [(day[5:], float(n)) for day, n in found["days"].days.items()], x_label="Day", y_label="Plays"
    )
    months = bar_plot("Plays a month", [(month, float(n)) for month, n in found["months"].items()], x_label="Month")
    return render(request, "history.html", found=found, days=days, months=months)


@router.get("/tail")
async def get_tail(request: Request, context: Context) -> Response:
    """How few items have how many of the plays."""
    from timbral.console.readers.catalogue import figures_of

    try:
        figures = await context.model.ask(figures_of)
    except (ModelNotFoundError, ModelFileError):
        return render(request, "part_problem.html", problem="No model is live yet.")
    return render(request, "tail.html", plot=tail_plot(figures.tail), figures=figures)


def _read_history(history: Any) -> dict[str, Any]:
    from timbral.history.counts import rows_per_day, rows_per_month

    made_at, known = _history.get(history.uri, (float("-inf"), None))
    if known is None or time.monotonic() - made_at > FRESH_S:
        known = {
            "uri": history.uri,
            "stats": history.stats(),
            "months": dict(list(rows_per_month(history).items())[-24:]),
            "days": rows_per_day(history, N_DAYS),
            "last_write": history.last_write(),
        }
        _history.clear()
        _history[history.uri] = time.monotonic(), known
    return known
