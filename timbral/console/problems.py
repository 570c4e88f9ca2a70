"""What a person sees when a screen cannot be shown: what is wrong in words, and no stack trace."""

from __future__ import annotations

import json

from fastapi import Request, Response

from timbral.console.rendering import render
from timbral.errors import RedisPermissionError

__all__ = ["as_page"]

TITLES = {
    400: "That could not be read",
    403: "This is not for this session",
    404: "There is no such thing",
    409: "That cannot be done now",
    413: "That is too large",
    422: "That could not be done",
    503: "Redis is away",
}


def as_page(request: Request, error: Exception, answer: Response) -> Response:
    """The page for ``error``; ``answer`` is what an app would be told of it."""
    try:
        message = str(json.loads(bytes(answer.body))["message"])
    except (ValueError, KeyError, TypeError):
        message = "Something went wrong here; the log of the server says what"
    status, title = answer.status_code, TITLES.get(answer.status_code, "That did not work")
    if isinstance(error, RedisPermissionError):
        title, message = "Redis does not let the API do this", f"{error}. docs/http.md has the rights that it needs."
    elif status == 503 and not _is_of_redis(answer):
        title = "Not now"
    if status >= 500 and status != 503:
        title = "Something went wrong"
    template = "part_problem.html" if request.headers.get("hx-request") else "problem.html"
    page = render(request, template, status, title=title, problem=message, is_redis=title == TITLES[503])
    for name in ("retry-after", "allow", "connection"):
        if name in answer.headers:
            page.headers[name] = answer.headers[name]
    return page


def _is_of_redis(answer: Response) -> bool:
    return b"RedisUnavailableError" in bytes(answer.body)
