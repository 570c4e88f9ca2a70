"""The screen of the dead letters: why each is there, what it says; sent again or deleted."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from producers.connections import connections
from timbral.console.changes import changed
from timbral.console.paging import page_of
from timbral.console.rendering import render
from timbral.errors import ParameterError
from timbral.queue import dead_letters as letters
from timbral.redis_server.replies import server_now_s

__all__ = ["router"]

router = APIRouter(prefix="/console/dead-letters", include_in_schema=False)

PER_PAGE = 20
MOST_AT_ONCE = 200
"""Letters that one press of "send all again" sends: a request has an end."""


@router.get("")
def get_letters(request: Request) -> Response:
    """A page of them, the newest first."""
    with connections().asking(results=True) as client:
        page = page_of(request.query_params.get("page"), PER_PAGE, letters.count(client))
        found = letters.list_letters(client, PER_PAGE, page.first)
        now = server_now_s(client)
    return render(request, "dead_letters.html", letters=found, page=page, now=now)


@router.post("/all/send-again")
def post_send_all(request: Request) -> Response:
    """Put all that can be sent back into their queues, the newest first."""
    with connections().asking(results=True) as client:
        chosen = [one.letter_id for one in letters.list_letters(client, MOST_AT_ONCE) if one.can_be_sent]
        for letter_id in chosen:
            letters.send_again(client, letter_id)
    return changed(request, "letters sent again", "/console/dead-letters", str(len(chosen)))


@router.post("/{letter_id}/send-again")
def post_send_again(request: Request, letter_id: str) -> Response:
    """Put one back into its queue, as if it were new."""
    with connections().asking(results=True) as client:
        task_id = letters.send_again(client, letter_id)
    return changed(request, "letter sent again", "/console/dead-letters", letter_id, job=task_id)


@router.post("/{letter_id}/delete")
def post_delete(request: Request, letter_id: str) -> Response:
    """Throw one away."""
    with connections().asking(results=True) as client:
        if not letters.delete(client, letter_id):
            raise ParameterError(f"No dead letter {letter_id!r}: it was sent or deleted a moment ago")
    return changed(request, "letter deleted", "/console/dead-letters", letter_id)
