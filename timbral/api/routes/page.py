"""GET /docs, and the files of all pages. Nothing comes from another host, and no script or style is inline."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from timbral.api.refusals import Refused

__all__ = ["HEADERS", "router"]

router = APIRouter(include_in_schema=False)

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
DOCS_HEADERS = {
    **HEADERS,
    # Swagger UI sets styles from its script and draws its icons from data.
    "content-security-policy": HEADERS["content-security-policy"]
    .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
    .replace("img-src 'self'", "img-src 'self' data:"),
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class PageFile(NamedTuple):
    """One file of the page, read once."""

    content: bytes
    media_type: str
    etag: str


def _read_files(package: str) -> dict[str, PageFile]:
    found = {}
    for entry in files(package).joinpath("static").iterdir():
        media_type = TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            found[entry.name] = PageFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


FILES = _read_files("timbral.api") | _read_files("timbral.console")
SWAGGER = {name: file for name, file in _read_files("fastapi_offline").items() if name.startswith("swagger-ui")}
"""Swagger UI's, from a package that keeps them: FastAPI's own page would load them from another host."""


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """All routes, to look at and to try."""
    return _send(request, "docs.html", DOCS_HEADERS)


@router.get("/favicon.ico")
async def get_icon(request: Request) -> Response:
    """Browsers ask for it unasked."""
    return _send(request, "icon.svg")


@router.get("/static/{name}")
async def get_file(request: Request, name: str) -> Response:
    """A script, a style or a picture of the page; only files that were there at start are known by name."""
    return _send(request, name)


def _send(request: Request, name: str, headers_of_page: dict[str, str] = HEADERS) -> Response:
    file = FILES.get(name) or SWAGGER.get(name)
    if file is None:
        raise Refused(404, f"No file {name!r}")
    headers = {**headers_of_page, "etag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
