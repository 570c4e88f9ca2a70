"""What a client is told when it does not get what it asked for: one JSON shape for every error."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from timbral.config.settings import public_address
from timbral.redis_server.refusals import as_ours

__all__ = ["ErrorAnswer", "FieldProblem", "Refused", "error_response", "kind_of", "redis_away", "responses"]

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5


class FieldProblem(BaseModel):
    """One bad field of a request."""

    field: str = Field(description="The argument, with the index in a list: `plays.3.item_id`.")
    problem: str = Field(description="What is wrong with it.")
    value: str = Field(description="What it was, cut to 80 characters.")


class ErrorAnswer(BaseModel):
    """Every answer of 400 and above."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"error": "NotFound", "message": "No user 'nobody' in the current model"}]}
    )
    error: str = Field(description="The class of the error: one of timbral.errors, or the HTTP status in one word.")
    message: str = Field(description="What is wrong, in a sentence.")
    problems: list[FieldProblem] | None = Field(None, description="Each bad field, where fields are bad.")
    traceback: str | None = Field(None, description="Only with DEBUG.")


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """``Refused(status, message)``: end the request with this status; ``error`` names the kind, the status' phrase if
    unset."""

    def __init__(
        self, status: int, message: str, *, error: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.error = error or kind_of(status)
        self.headers = headers

    def response(self) -> Response:
        """The answer to send."""
        return error_response(self.status, self.error, self.message, headers=self.headers)


def kind_of(status: int) -> str:
    """``NotFound`` for 404, and so on."""
    return "".join(word.capitalize() for word in HTTPStatus(status).phrase.replace("-", " ").split())


def error_response(
    status: int, error: str, message: str, *, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """An ErrorAnswer; 503 tells when to come again."""
    body = {"error": error, "message": message, **{name: value for name, value in more.items() if value is not None}}
    headers = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("retry-after", str(RETRY_AFTER_S))
    # ASCII: a message may repeat half a surrogate pair, which UTF-8 cannot carry.
    return Response(json.dumps(body).encode(), status, headers, "application/json")


def redis_away(url: str, error: Exception) -> Response:
    """503 for a Redis at ``url`` that is away or refuses; its password is not told."""
    text = str(as_ours(public_address(url), error))
    logger.warning("%s", text)
    return error_response(503, "RedisUnavailableError", text)


_MEANINGS = {
    400: "The request cannot be understood.",
    401: "A bearer token is needed, or is not the right one.",
    404: "There is no such thing.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body must be application/json.",
    421: "Without API_TOKEN the API answers to names of this machine alone.",
    422: "A field is wrong; each bad one is listed.",
    503: "Redis or the model is away, or the API is full; try again after Retry-After seconds.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for OpenAPI: those every route may give, and ``statuses``."""
    made: dict[int | str, dict[str, Any]] = {}
    for status in sorted({401, 421, 503, *statuses}):
        made[status] = {"model": ErrorAnswer, "description": _MEANINGS[status]}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            made[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return made
