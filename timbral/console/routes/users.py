"""The screen of a user: what they play, what they get, and why. Its script asks the API's own routes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from timbral.console.rendering import render

__all__ = ["router"]

router = APIRouter(prefix="/console/users", include_in_schema=False)


@router.get("")
def get_users(request: Request) -> Response:
    """The screen; which user is looked at stands in the address."""
    return render(request, "users.html")
