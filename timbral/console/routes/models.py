"""The screens of the model versions: all of them, one, two side by side; what is live is changed here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from producers.connections import connections
from timbral.api.refusals import Refused
from timbral.config.settings import Settings
from timbral.console.changes import changed
from timbral.console.plots import line_plot
from timbral.console.readers.models import loss_series, metric_series, read_version, read_versions
from timbral.console.readers.names import names_of
from timbral.console.rendering import render
from timbral.errors import ModelFileError, ModelNotFoundError

if TYPE_CHECKING:
    from timbral.versions.model_store import ModelStore

__all__ = ["router"]

router = APIRouter(prefix="/console/models", include_in_schema=False)


@router.get("")
def get_models(request: Request) -> Response:
    """A page of versions, and their metrics as a plot."""
    with connections().asking() as client:
        found = read_versions(client, request.query_params.get("page"))
    plot = line_plot(
        "Metrics of the versions, the oldest first", metric_series(found.records), x_label="Version, oldest to newest"
    )
    return render(request, "models.html", found=found, rows=found.records, page=found.page, plot=plot)


@router.get("/compare")
def get_comparison(request: Request) -> Response:
    """Two versions: what their trainings measured. What their lists have in common takes longer, and comes after."""
    first, second = request.query_params.get("first", ""), request.query_params.get("second", "")
    with connections().asking() as client:
        found = read_versions(client)
        if not (first and second):
            return render(request, "compare_ask.html", records=found.records, first=first, second=second)
        records = [read_version(client, version) for version in (first, second)]
    from timbral.logic.model_comparison import compare_records

    return render(request, "compare.html", first=first, second=second, found=compare_records(*records), records=records)


@router.get("/overlap")
def get_overlap(request: Request) -> Response:
    """How much the lists of two versions have in common, and the lists of some users."""
    first, second = request.query_params.get("first", ""), request.query_params.get("second", "")
    from timbral.logic.model_comparison import compare_lists

    with _store(request) as store:
        try:
            found = compare_lists(store.get(first), store.get(second), top_k=10, n_users=200, n_shown=3)
        except (ModelFileError, ModelNotFoundError) as error:
            return render(request, "part_problem.html", problem=str(error))
    named = names_of(item for one in found["shown"] for items in one["lists"] for item in items)
    return render(request, "overlap.html", found=found, names=named, first=first, second=second)


@router.get("/{version}")
def get_model(request: Request, version: str) -> Response:
    """One version: what it was trained on and how, what came of it."""
    with connections().asking() as client:
        record = read_version(client, version)
        found = read_versions(client)
    plot = line_plot("Loss after each sweep", loss_series(record), x_label="Sweep", y_label="Loss")
    return render(request, "model.html", record=record, plot=plot, current=found.current, back_to=found.back_to)


@router.post("/roll-back")
def post_roll_back(request: Request) -> Response:
    """Make the version live again that was live before."""
    with _store(request) as store:
        version = store.roll_back()
    return changed(request, "rolled back", "/console/models", version)


@router.post("/{version}/promote")
def post_promote(request: Request, version: str) -> Response:
    """Make a version live, whatever its metrics; its file is checked first."""
    with _store(request) as store:
        store.promote(version, force=True)
    return changed(request, "promoted", "/console/models", version)


@router.post("/{version}/delete")
def post_delete(request: Request, version: str) -> Response:
    """Remove a version; not the live one, nor the one to roll back to."""
    with _store(request) as store:
        if not store.remove(version):
            raise Refused(409, f"{version} stays: it is live, or a roll back would go to it, or a job works with it")
    return changed(request, "version deleted", "/console/models", version)


@contextmanager
def _store(request: Request) -> Iterator[ModelStore]:
    from timbral.versions.model_store import ModelStore  # it loads numpy, which the first screens do without

    settings: Settings = request.app.state.context.settings
    with connections().asking() as client:
        yield ModelStore(client, settings.MODEL_DIR)
