"""Ids in a URL: text that may stand for an int, and that may hold a slash."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from timbral.api.middleware.limits import SecurityHeaders
from timbral.api.refusals import Refused

__all__ = ["ItemIdInUrl", "SlashesInIds", "UserIdInUrl", "decoded", "meanings"]

MAX_CHARACTERS = 512
_AN_INT = re.compile(r"^(0|-?[1-9][0-9]{0,18})$")
_DOT = re.compile(r"%(?:25)*2E", re.IGNORECASE)
_DOTS = re.compile(rf"(?:{_DOT.pattern}){{1,2}}", re.IGNORECASE)
_ENCODED = re.compile(rb"%(2f|25)", re.IGNORECASE)


def decoded(id_in_path: str) -> str:
    """The id as the client meant it: what ``SlashesInIds`` kept encoded is decoded.

    Browsers and proxies take ``.`` and ``..`` out of a path, ``%2E`` and ``%2E%2E`` too; ``%252E`` and ``%252E%252E``
    are these ids (and ``%25252E`` is the id ``%2E``).
    """
    if "%" in id_in_path:
        id_in_path = id_in_path.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
        if _DOTS.fullmatch(id_in_path):
            id_in_path = _DOT.sub(lambda dot: "." if len(dot[0]) == 3 else f"%{dot[0][3:]}", id_in_path)
    if not 1 <= len(id_in_path) <= MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_CHARACTERS} characters, has {len(id_in_path)}")
    return id_in_path


def _an_id(whose: str, example: str) -> Any:
    # The length is checked after decoding; here it is said for the description alone.
    return Path(
        description=f"{whose} id, percent-encoded.",
        examples=[example],
        json_schema_extra={"minLength": 1, "maxLength": MAX_CHARACTERS},
    )


UserIdInUrl = Annotated[str, AfterValidator(decoded), _an_id("A user's", "2")]
ItemIdInUrl = Annotated[str, AfterValidator(decoded), _an_id("An item's", "51")]


def meanings(text: str) -> list[int | str]:
    """The ids that ``text`` may stand for: the string itself and, where it is one, the 64-bit int."""
    number = int(text) if _AN_INT.match(text) else None
    return [text] if number is None or not -(2**63) <= number < 2**63 else [text, number]


class SlashesInIds:
    """ASGI middleware: ``%2F`` in an id stays part of the id, and what is no UTF-8 in it is no id.

    The server decodes a path before routes see it, so that an encoded slash would part it, and all that is no UTF-8
    would be one character, U+FFFD. Here ``%2F`` and ``%25`` stay encoded for the routing, which ``decoded`` undoes, and
    other bytes are refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path", b"")
        if scope["type"] == "http" and b"%" in raw:
            kept = _ENCODED.sub(rb"%25\1", raw)
            try:
                scope = {**scope, "path": unquote(kept.decode("ascii"), errors="strict")}
            except UnicodeDecodeError:
                refused = Refused(400, "The path must be percent-encoded UTF-8").response()
                await SecurityHeaders(refused)(scope, receive, send)
                return
        await self.app(scope, receive, send)
