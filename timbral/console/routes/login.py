"""The login: a token for a session, and its end."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from timbral.api.sessions import COOKIE, Sessions
from timbral.console.audit import audit
from timbral.console.rendering import begin_session, render

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/console/login")
def get_login(request: Request) -> Response:
    """The form."""
    return render(request, "login.html", next=_inside(request.query_params.get("next", "/")), wrong=False)


@router.post("/console/login")
def post_login(request: Request) -> Response:
    """Begin a session with a token."""
    form, sessions = request.state.form, request.app.state.sessions
    assert isinstance(sessions, Sessions)  # noqa: S101 - for the type checker: the app has them
    back = _inside(form.get("next", "/"))
    role = sessions.role_of(form.get("token", ""))
    if role is None:
        audit(request, "login refused")
        return render(request, "login.html", 401, next=back, wrong=True)
    session = sessions.begin(role)
    request.state.session = session
    audit(request, "login")
    answer = Response(status_code=303, headers={"location": back})
    begin_session(request, answer, session)
    return answer


@router.post("/console/logout")
def post_logout(request: Request) -> Response:
    """End the session in this browser."""
    audit(request, "logout")
    answer = Response(status_code=303, headers={"location": "/console/login"})
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _inside(place: str) -> str:
    """A place to go to after the login, in this console: never another site's."""
    is_ours = place == "/" or place.startswith(("/?", "/console/"))
    return place if is_ours and "\\" not in place and "\n" not in place and "\r" not in place else "/"
