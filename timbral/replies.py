"""Redis replies as text: a client answers with bytes or with str, as it was made."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["now_s", "text", "texts"]


def text(reply: Any) -> str:
    """A string reply as str; nothing becomes an empty one."""
    if reply is None:
        return ""
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def texts(reply: Any) -> dict[str, str]:
    """A hash reply as a dict of str."""
    return {text(field): text(value) for field, value in reply.items()}


def now_s() -> float:
    """Seconds since 1970 on this machine's clock."""
    return time.time()
