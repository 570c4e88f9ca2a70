"""Server-sent events of HTML, which htmx puts into the page: a part of a screen, anew whenever it has changed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from anyio.to_thread import run_sync
from fastapi.responses import StreamingResponse

from timbral.api.context import ApiContext
from timbral.api.streams import HEARTBEAT_S, LONGEST_S
from timbral.errors import TimbralError

__all__ = ["stream_html"]

LOOK_EVERY_S = 0.7


def stream_html(context: ApiContext, look: Callable[[], tuple[str, bool]]) -> StreamingResponse:
    """What ``look`` gives, and whether it was the last; it is called in a thread."""
    context.streams.check_room("reload the page instead")
    headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
    return StreamingResponse(_events(context, look), media_type="text/event-stream", headers=headers)


async def _events(context: ApiContext, look: Callable[[], tuple[str, bool]]) -> AsyncIterator[str]:
    with context.streams.one():
        began = spoke = time.monotonic()
        shown = None
        while time.monotonic() - began < LONGEST_S:
            try:
                html, is_last = await run_sync(look, limiter=context.job_threads)
            except TimbralError:  # Redis is away: the fleet sits it out, and so do we
                html, is_last = shown or "", False
            now = time.monotonic()
            if html != shown:
                yield _event("moved", html)
                shown, spoke = html, now
            elif now - spoke > HEARTBEAT_S:
                yield ": still there\n\n"
                spoke = now
            if is_last:
                yield _event("done", "")
                return
            if await context.streams.closing_within(LOOK_EVERY_S):
                return


def _event(name: str, html: str) -> str:
    lines = "\n".join(f"data: {line}" for line in html.splitlines() or [""])
    return f"event: {name}\n{lines}\n\n"
