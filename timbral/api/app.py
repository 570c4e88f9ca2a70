"""create_app: the HTTP API put together."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

import producers
import timbral
from timbral import logs
from timbral.api.context import ApiContext, make_context
from timbral.api.description import describe
from timbral.api.ids import SlashesInIds
from timbral.api.known_parameters import only_known_parameters
from timbral.api.metrics import Metrics
from timbral.api.middleware.auth import Auth, is_console
from timbral.api.middleware.fast_lane import FastLane
from timbral.api.middleware.head import Head
from timbral.api.middleware.limits import Limits, SecurityHeaders
from timbral.api.refusals import Refused, error_response, kind_of, redis_away
from timbral.api.routes import (
    erasure,
    events,
    health,
    item_sets,
    items,
    jobs,
    models,
    page,
    plays,
    recommendations,
    tasks,
    users,
)
from timbral.api.sessions import Sessions
from timbral.api.streams import Streams
from timbral.config.settings import Settings, read_settings
from timbral.console.guard import LoginNeeded, login_redirect
from timbral.console.problems import as_page
from timbral.console.routes import router as console
from timbral.errors import MessageError, ModelFileError, ModelNotFoundError, RedisUnavailableError, TimbralError

__all__ = ["app_from_environment", "create_app"]


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application of the HTTP API; it connects to nothing until it is asked.

    It holds no user's data and may run in as many processes as there are cores. ``producers`` of this process is
    connected to where ``settings`` say Redis is.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Streams]]:
        producers.connect(settings.redis_url, settings.broker_url)
        app.state.context = make_context(settings)
        warming = asyncio.get_running_loop().create_task(_warm_up(app.state.context))
        try:
            yield {"streams": app.state.context.streams}
        finally:
            warming.cancel()
            await app.state.context.close()
            producers.close()

    app = FastAPI(
        title="timbral",
        version=timbral.__version__,
        summary="A recommender for listening data that lives behind a queue.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # its scripts would come from another host; timbral.api.routes.page has a page of our own files
        redoc_url=None,
        dependencies=[Depends(only_known_parameters)],
        generate_unique_id_function=lambda route: route.name,
    )
    for part in (plays, tasks, jobs, events, recommendations, users, erasure, items, item_sets, models, health, page):
        app.include_router(part.router)
    app.include_router(console)
    app.state.sessions = Sessions(settings)
    describe(app, settings)
    _answer_errors(app, settings)
    # The last one added is the first one asked.
    app.add_middleware(Limits)
    app.add_middleware(FastLane)
    app.add_middleware(Auth, settings=settings)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Head)
    app.add_middleware(Metrics)
    app.add_middleware(SlashesInIds)
    return app


async def _warm_up(context: ApiContext) -> None:
    await context.model.warm_up()
    # What is there now stays: without it, every full collection would look through all of numpy, for milliseconds.
    gc.collect()
    gc.freeze()


def app_from_environment() -> FastAPI:
    """What each of the server's processes makes: the application with the settings of its environment."""
    logs.configure()
    logging.getLogger("uvicorn.error").addFilter(_without_colours)
    return create_app(read_settings())


def _without_colours(record: logging.LogRecord) -> bool:
    record.__dict__.pop("color_message", None)  # uvicorn's own formatter would print it; ours would print both
    return True


def _answer_errors(app: FastAPI, settings: Settings) -> None:
    def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101 - Starlette's handlers are typed by Exception
        return error.response()

    def bad_message(_: Request, error: Exception) -> Response:
        return error_response(422, type(error).__name__, str(error)[:2000], problems=error.args[1])

    def bad_parameter(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette's handlers are typed by Exception
        problems = [
            {
                "field": ".".join(str(part) for part in detail["loc"][1:]) or str(detail["loc"][0]),
                "problem": str(detail["msg"]).removeprefix("Value error, "),
                "value": repr(detail.get("input"))[:80],
            }
            for detail in error.errors()
        ]
        listed = "; ".join(f"{p['field']}: {p['problem']} (got {p['value']})" for p in problems)
        return error_response(422, "ParameterError", listed[:2000], problems=problems)

    def no_redis(_: Request, error: Exception) -> Response:
        return redis_away(settings.redis_url, error)

    def no_model(request: Request, error: Exception) -> Response:
        if is_console(request.url.path):
            return ours(request, error)
        return error_response(
            503, type(error).__name__, "There is no model to ask: none is live yet, or its file is not here"
        )

    def ours(request: Request, error: Exception) -> Response:
        if not is_console(request.url.path):
            raise error  # the API's routes name what may happen; anything else is a fault, and is logged
        return error_response(404 if isinstance(error, FileNotFoundError) else 422, type(error).__name__, str(error))

    def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's handlers are typed by Exception
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["allow"] = _methods_of(app, request, headers.pop("Allow", ""))
        text = f"Nothing at {request.url.path!r}" if error.status_code == 404 else str(error.detail)
        return error_response(error.status_code, kind_of(error.status_code), text[:500], headers=headers)

    def unexpected(_: Request, error: Exception) -> Response:
        # Starlette raises it again after this answer, so that the server logs it.
        if not settings.DEBUG:
            return error_response(
                500, "InternalServerError", "Something went wrong here; the log of the server says what"
            )
        shown = "".join(traceback.format_exception(error))
        return error_response(500, type(error).__name__, str(error), traceback=shown)

    handlers: dict[Any, Any] = {
        Refused: refused,
        MessageError: bad_message,
        RequestValidationError: bad_parameter,
        RedisUnavailableError: no_redis,
        RedisError: no_redis,
        ModelNotFoundError: no_model,
        ModelFileError: no_model,
        TimbralError: ours,
        HTTPException: http_error,
        Exception: unexpected,
    }
    app.add_exception_handler(LoginNeeded, _as_coroutine(login_redirect))
    for kind, handler in handlers.items():
        # Starlette runs handlers that are not coroutines in a thread; these do nothing that waits.
        app.add_exception_handler(kind, _as_coroutine(handler))


def _as_coroutine(handler: Any) -> Any:
    async def handle(request: Request, error: Exception) -> Response:
        made: Response = handler(request, error)
        is_for_a_person = is_console(request.url.path) and made.media_type == "application/json"
        return as_page(request, error, made) if is_for_a_person else made

    return handle


def _methods_of(app: FastAPI, request: Request, known: str) -> str:
    # Starlette names those of the first route of a path alone; the description has all of them.
    operations = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""), {})
    methods = {method.upper() for method in operations}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))) or known
