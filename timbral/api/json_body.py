"""A request's body as arguments."""

from __future__ import annotations

import codecs
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from timbral.api.refusals import Refused

__all__ = ["object_in"]


async def object_in(request: Request) -> dict[str, Any]:
    """The arguments in a request's body; none where there is no body.

    Raises:
        Refused: it is no JSON object, or does not say that it is one.
    """
    body = await request.body()
    if not body:
        return {}  # what is missing, if anything is, the message knows
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        got = f"not {content_type[:80]}" if content_type else "and say so in Content-Type"
        raise Refused(415, f"The body must be application/json, {got}")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Refused(415, f"The body must not be compressed, got Content-Encoding {encoding[:80]}")
    try:
        arguments = from_json(body.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        raise Refused(400, f"The body is not JSON: {error}") from None
    if type(arguments) is not dict:
        raise Refused(422, f"The body must be a JSON object of arguments, not {type(arguments).__name__}")
    whole: dict[str, Any] = _whole(arguments)
    return whole


def _whole(value: Any) -> Any:
    """15.0 as 15: JSON has one kind of number, and its schemas call both an integer. Beyond 2**53 a float may be
    another whole number than the one that was written."""
    if type(value) is float:
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if type(value) is list:
        return [_whole(one) for one in value]
    if type(value) is dict:
        return {name: _whole(one) for name, one in value.items()}
    return value
