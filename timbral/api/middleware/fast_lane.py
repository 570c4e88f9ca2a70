"""The way past the framework for the one question that is asked all the time: a user's list, with no options.

The route in ``timbral.api.routes.recommendations`` answers the same, and everything this lane leaves to it; the tests
compare them.
"""

from __future__ import annotations

import logging

from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from timbral.api.ids import decoded
from timbral.api.refusals import redis_away
from timbral.api.routes.recommendations import recommend

__all__ = ["FastLane"]

logger = logging.getLogger(__name__)

PREFIX, SUFFIX = "/users/", "/recommendations"
CONTENT_TYPE = (b"content-type", b"application/json")


class _Route:
    """What the metrics know this lane by: the route's own name."""

    path = "/users/{user_id}/recommendations"


class FastLane:
    """ASGI middleware: answers GET /users/{user_id}/recommendations; half of a request's time would go into routing
    it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user_id = _user(scope)
        if user_id is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = _Route
        context = scope["app"].state.context
        try:
            body = await recommend(context, user_id)
        except (RedisError, OSError) as error:
            await redis_away(context.settings.redis_url, error)(scope, receive, send)
            return
        headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _user(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["query_string"] or scope["method"] != "GET":
        return None
    path: str = scope["path"]
    if not (path.startswith(PREFIX) and path.endswith(SUFFIX)) or "/" in path[len(PREFIX) : -len(SUFFIX)]:
        return None
    try:
        return decoded(path[len(PREFIX) : -len(SUFFIX)])
    except ValueError:
        return None
