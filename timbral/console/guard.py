"""Who may see a screen, and who may change something: asked once for every route of the console."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Request, Response

from timbral.api.middleware.limits import IMPORT_PATH
from timbral.api.refusals import Refused
from timbral.api.sessions import COOKIE, Session, Sessions

__all__ = ["LoginNeeded", "guard", "login_redirect"]

OPEN_PATHS = frozenset({"/console/login", "/console/logout"})
MAX_FIELDS = 200


class LoginNeeded(Exception):  # noqa: N818 - an answer, not a fault
    """Whoever asks has no session that may; after the login they come to ``back``."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.back = back


async def guard(request: Request) -> None:
    """Dependency of every route of the console: reads the session and the form, and lets nobody change anything without
    the right of it and its CSRF token.

    Raises:
        LoginNeeded: there is something to log in for.
        Refused: 403, a form that is not this session's, or a session that may not write.
    """
    sessions: Sessions = request.app.state.sessions
    session = sessions.read(request.cookies.get(COOKIE, ""))
    request.state.session = session
    is_reading = request.method in ("GET", "HEAD")
    if not is_reading:
        request.state.form = await _form(request)
        _check_form(request, session)
    if request.url.path in OPEN_PATHS:
        return
    if is_reading and not sessions.may_read(session):
        raise LoginNeeded(f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path)
    if not is_reading and not sessions.may_write(session):
        if session is not None and session.role == "reader":
            raise Refused(403, "This session may read. Log in with the token for writing to change anything")
        raise LoginNeeded(_referred(request))


async def _form(request: Request) -> dict[str, str]:
    if request.url.path == IMPORT_PATH:  # its body is a file, which is read only once we know who sends it
        return {"csrf": request.headers.get("x-csrf-token", "")}
    try:
        text = (await request.body()).decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise Refused(400, "The form cannot be read") from None


def _check_form(request: Request, session: Session | None) -> None:
    origin = request.headers.get("origin")
    is_foreign = origin not in (None, "null") and urlsplit(origin).netloc != request.headers.get("host")
    given = str(request.state.form.pop("csrf", ""))
    right = session is not None and hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), session.csrf_token.encode()
    )
    if is_foreign and right:  # a proxy that does not pass on which host was asked; another site has no such form
        text = (
            f"This page is from {origin}, and the API was asked for {request.headers.get('host')}: if a proxy is "
            "between, have it pass on the Host header as it came (nginx: proxy_set_header Host $http_host)"
        )
        raise Refused(403, text)
    if is_foreign or origin == "null" or not right:
        raise Refused(403, "This form is not from this session, or the session has ended: open the page again")


def _referred(request: Request) -> str:
    parts = urlsplit(request.headers.get("referer", "/"))
    return f"{parts.path}?{parts.query}" if parts.query else parts.path or "/"


def login_redirect(request: Request, error: Any) -> Response:
    """To the login; htmx, which asks for a part of a page, is told to go there with the whole of it."""
    where = f"/console/login?{urlencode({'next': error.back})}"
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"hx-redirect": where})
    return Response(status_code=303, headers={"location": where})
