"""A file into the history from a browser: sent, read as ``timbral plays import`` reads it, and followed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from producers.connections import connections
from timbral.api.context import Context
from timbral.api.refusals import Refused
from timbral.console.audit import audit
from timbral.console.html_stream import stream_html
from timbral.console.importer import importer
from timbral.console.rendering import PAGE_HEADERS, render, render_text
from timbral.console.uploads import receive_file
from timbral.errors import HistoryError
from timbral.plays.imports import Import, ImportNotes, read_import

__all__ = ["router"]

router = APIRouter(prefix="/console/data", include_in_schema=False)

COLUMNS = ("user_col", "item_col", "value_col", "time_col")
MOST_CHARACTERS = 200


@router.post("/import")
async def post_import(request: Request, context: Context) -> Response:
    """Take a file and begin to import it; the answer says where that is to be seen. The body is the file alone, its
    name and how it is to be read are in the address: a form's body would have to be cut out of its file first."""
    query = {name: text.strip()[:MOST_CHARACTERS] for name, text in request.query_params.items()}
    called = PurePosixPath(query.get("name", "").replace("\\", "/")).name
    if called in ("", ".", ".."):
        raise Refused(422, "The file has no name")
    upload = importer.take()
    try:
        # What would refuse every file is found out before one is sent.
        history = await run_in_threadpool(_history)
        options = _options(query)
        n_bytes = await receive_file(request, upload.path, context.settings.IMPORT_MAX_MB)
        notes = ImportNotes(lambda: connections().asking(), called, n_bytes)
        await run_in_threadpool(notes.begin)
    except BaseException:
        upload.close()
        raise
    upload.start(history, called, options, notes, played_now="played_now" in query)
    audit(request, "import", what=called, n_bytes=n_bytes, import_id=notes.current.id)
    return Response(status_code=201, headers={**PAGE_HEADERS, "location": f"/console/data/imports/{notes.current.id}"})


@router.get("/imports/{import_id}")
def get_import(request: Request, import_id: str) -> Response:
    """One import: how far it is, what became of the rows, or why it was refused."""
    return render(request, "import.html", one=_known(import_id))


@router.get("/imports/{import_id}/events")
async def get_import_events(context: Context, import_id: str) -> StreamingResponse:
    """The same as a stream of HTML."""

    def look() -> tuple[str, bool]:
        one = _known(import_id)
        return render_text("import_now.html", one=one), one.state != "running"

    await run_in_threadpool(_known, import_id)
    return stream_html(context, look)


def _known(import_id: str) -> Import:
    with connections().asking() as client:
        found = read_import(client, import_id[:64])
    if found is None:
        raise Refused(404, f"No import {quote(import_id[:64])!r}: the last 20 are kept, for 30 days")
    return found


def _history() -> Any:
    from timbral.history.location import open_history

    try:
        return open_history()
    except HistoryError as error:
        raise Refused(503, f"Nothing can be imported from here: {error}") from None


def _options(query: dict[str, str]) -> Any:
    from timbral.data.read_options import ReadOptions

    given: dict[str, Any] = {name: query[name] for name in COLUMNS if query.get(name)}
    if "count_rows" in query:
        given["value_col"] = None
    if "drop" in query:
        given["on_missing"] = "drop"
    return ReadOptions(**given).checked()
