"""GET /: what is live, what runs, what needs somebody; a guide where there is nothing yet."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from timbral.console.readers.home import read_home
from timbral.console.rendering import render

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/")
def get_home(request: Request) -> Response:
    """The first screen."""
    return render(request, "home.html", home=read_home(), base_url=str(request.base_url).rstrip("/"))


@router.get("/console/now")
def get_now(request: Request) -> Response:
    """The part of it that moves."""
    return render(request, "home_now.html", home=read_home())
