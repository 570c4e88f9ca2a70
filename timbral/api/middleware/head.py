"""HEAD for every GET: the same status and headers, and no body. The framework answers it with 405."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Head"]


class Head:
    """ASGI middleware: asks HEAD as GET, and keeps the body back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        begun = ended = False

        async def send_head(message: Message) -> None:
            nonlocal begun, ended
            if message["type"] == "http.response.start":
                begun = True
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b""})

        async def receive_or_leave() -> Message:
            # A stream would go on for as long as there is somebody to read it.
            return {"type": "http.disconnect"} if begun else await receive()

        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive_or_leave, send_head)
        finally:
            if "route" in asked:
                scope["route"] = asked["route"]  # the metrics go by it
