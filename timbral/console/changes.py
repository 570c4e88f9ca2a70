"""What follows a change: an audit line, and back to a page that says what was done."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from timbral.console.audit import audit

__all__ = ["changed"]


def changed(request: Request, action: str, back: str, what: str = "", **more: Any) -> Response:
    """Log ``action`` on ``what`` and go to ``back``, whose page has a sentence for the action (``said.html``)."""
    audit(request, action, what=what, **more)
    place, _, part = back.partition("#")
    query = urlencode({"said": action, "what": what} if what else {"said": action})
    where = f"{place}{'&' if '?' in place else '?'}{query}" + (f"#{part}" if part else "")
    return Response(status_code=303, headers={"location": where})
