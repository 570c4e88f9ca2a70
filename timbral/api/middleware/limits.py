"""How much of a client's time and bytes the API takes: bodies, whole requests, and what a browser may do with
answers."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from timbral.api.refusals import Refused

__all__ = ["CLOSE", "IMPORT_PATH", "MAX_BODY_BYTES", "REQUEST_TIMEOUT_S", "Limits", "SecurityHeaders"]

MAX_BODY_BYTES = 16 * 2**20
"""Room for the largest message: MAX_IDS plays with ids of some length."""
REQUEST_TIMEOUT_S = 30.0
CLOSE = {"connection": "close"}
IMPORT_PATH = "/console/data/import"


class Limits:
    """ASGI middleware: 413 for a body above the limit, said or chunked; 408 for one that trickles; 503 for an answer
    that hangs.

    Event streams and the import of a file have limits of their own.
    """

    def __init__(
        self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"] == "GET" and scope["path"].endswith("/events")):
            await self.app(scope, receive, send)
            return
        if scope["method"] == "POST" and scope["path"] == IMPORT_PATH:
            await self.app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and not (value.isdigit() and int(value[:20]) <= self.max_body_bytes):
                await self._too_large().response()(scope, receive, send)
                return
        n_bytes, complete, started = 0, scope["method"] == "GET", False

        async def counted() -> Message:
            nonlocal n_bytes, complete
            message = await receive()
            if message["type"] == "http.disconnect" and not complete:
                raise Refused(400, "The client left before its body was there")
            n_bytes += len(message.get("body", b""))
            complete = complete or not message.get("more_body", False)
            if n_bytes > self.max_body_bytes:
                raise self._too_large()
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self.timeout_s):
                await self.app(scope, counted, watched)
        except TimeoutError:
            if started:
                raise
            refused = (
                Refused(503, f"No answer within {self.timeout_s:g} s")
                if complete
                else Refused(408, f"The body was not there within {self.timeout_s:g} s", headers=CLOSE)
            )
            await refused.response()(scope, receive, send)

    def _too_large(self) -> Refused:
        return Refused(413, f"A body may have {self.max_body_bytes} bytes at most", headers=CLOSE)


class SecurityHeaders:
    """ASGI middleware: every answer says what a browser may do with it, which is little."""

    HEADERS: tuple[tuple[bytes, bytes], ...] = (
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = message["headers"]
                # The page brings its own: it may load its script and its style, and be kept.
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.extend(self.HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)
