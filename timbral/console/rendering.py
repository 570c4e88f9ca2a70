"""Templates to answers: one environment, one set of headers, and what every page knows."""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from timbral.api.routes.page import HEADERS
from timbral.api.sessions import COOKIE, LIFE_S, Session, Sessions
from timbral.console.words import FILTERS

__all__ = ["PAGE_HEADERS", "begin_session", "render", "render_text", "seen_at"]

PAGE_HEADERS: Final = {
    **HEADERS,
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # no-referrer would have a form say that it comes from nowhere
}
SCREENS: Final = (
    ("/", "Home"),
    ("/console/users", "Users"),
    ("/console/items", "Items"),
    ("/console/item-sets", "Item sets"),
    ("/console/models", "Models"),
    ("/console/jobs", "Jobs"),
    ("/console/dead-letters", "Dead letters"),
    ("/console/data", "Data"),
    ("/console/tuning", "Tuning"),
    ("/console/fleet", "Fleet"),
)


def id_in_path(text: object) -> str:
    """An id as a part of a path: a browser takes "." and ".." out of it, however they are encoded, so they are encoded
    twice (``timbral.api.ids``)."""
    known = str(text)
    if re.fullmatch(r"\.{1,2}", known):
        return "%252E" * len(known)
    return quote(
        known.replace("%", "%25") if re.fullmatch(r"(%(25)*2e){1,2}", known, re.IGNORECASE) else known, safe=""
    )


environment: Final = Environment(
    loader=PackageLoader("timbral.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.loopcontrols"],
)
environment.filters.update(FILTERS)
environment.filters["in_path"] = lambda text: quote(str(text), safe="")
environment.filters["id_in_path"] = id_in_path
environment.filters["plain_json"] = lambda value: json.dumps(value, ensure_ascii=False, default=str)
environment.globals["query"] = lambda **parts: urlencode({name: one for name, one in parts.items() if one is not None})


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page. Whoever has no session gets one, for a form needs its CSRF token."""
    sessions: Sessions = request.app.state.sessions
    # A page that no route makes, for nothing is there, has not been through the guard.
    is_known = hasattr(request.state, "session")
    session: Session | None = request.state.session if is_known else sessions.read(request.cookies.get(COOKIE, ""))
    fresh = session is None
    session = session or sessions.begin("anyone")
    known = {
        "screens": SCREENS,
        "path": request.url.path,
        "session": session,
        "may_write": sessions.may_write(session),
        "wants_token": sessions.wants_token,
        "import_max_mb": request.app.state.context.settings.IMPORT_MAX_MB,
        "csrf": session.csrf_token,
        "here": seen_at(request),
        "said": request.query_params.get("said", ""),
        "what": request.query_params.get("what", ""),
    }
    answer = Response(render_text(template, **known, **values), status, PAGE_HEADERS, "text/html")
    if fresh:
        begin_session(request, answer, session)
    return answer


def render_text(template: str, **values: Any) -> str:
    """A template's text."""
    return environment.get_template(template).render(**values)


def begin_session(request: Request, answer: Response, session: Session) -> None:
    """Hand the session's cookie out: no script reads it, and no other site's page sends it along."""
    # What a proxy says of the scheme can only make the cookie stricter.
    is_secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
    answer.set_cookie(COOKIE, session.value, LIFE_S, path="/", httponly=True, samesite="strict", secure=is_secure)


def seen_at(request: Request) -> str:
    """The page that is looked at, to come back to."""
    path = request.url.path
    return f"{path}?{request.url.query}" if request.url.query else path
