"""A line in the log for each thing that a person changes in the console: who, from where, what."""

from __future__ import annotations

import hashlib
from typing import Any

import structlog
from fastapi import Request

from timbral.api.sessions import Session

__all__ = ["audit"]

logger = structlog.get_logger(__name__)


def audit(request: Request, action: str, **what: Any) -> None:
    """Log that ``action`` was done. ``session`` tells one person's lines from another's, and lets nobody in."""
    session: Session | None = getattr(request.state, "session", None)
    shown = "" if session is None else hashlib.sha256(session.value.encode()).hexdigest()[:8]
    client = request.client.host if request.client is not None else ""
    role = "anyone" if session is None else session.role
    logger.info("console", action=action, role=role, session=shown, client=client, **what)
