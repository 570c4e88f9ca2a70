"""uvicorn's HTTP protocol with two bounds that it has not: how large a request's head is, and how slowly it may
come."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "BoundedHead"]

MAX_HEAD_BYTES = 32 * 2**10
HEAD_TIMEOUT_S = 10.0


class BoundedHead(HttpToolsProtocol):
    """Closes a connection whose request line and headers exceed MAX_HEAD_BYTES or are not complete after
    HEAD_TIMEOUT_S."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # never a BaseTransport
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: event streams end now, so that it need not wait for them."""
        streams = self.app_state.get("streams")
        if streams is not None:
            streams.closing.set()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # After the parser has seen it: what lies beyond the head's end is body, and not counted.
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have {MAX_HEAD_BYTES} bytes at most.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        timer: Any = self._head_timer
        if timer is not None:
            timer.cancel()
            self._head_timer = None
