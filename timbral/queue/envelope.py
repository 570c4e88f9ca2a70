"""What a message must look like before anything relies on it. Each check gives the problem in words, or None."""

from __future__ import annotations

from typing import Any

__all__ = ["body_problem", "envelope_problem", "headers_problem", "task_id_of"]

MAX_NAME_LENGTH = 255
MAX_RETRIES = 1_000_000
BODY_ENCODINGS = (None, "base64", "utf-8")

_TEXT = (str, type(None))
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "root_id": _TEXT,
    "parent_id": _TEXT,
    "group": _TEXT,
    "shadow": _TEXT,
    "origin": _TEXT,
    "lang": _TEXT,
    "meth": _TEXT,
    "argsrepr": _TEXT,
    "kwargsrepr": _TEXT,
    "eta": _TEXT,
    "expires": _TEXT,
    "ignore_result": (bool, type(None)),
    "retries": (int, type(None)),
    "group_index": (int, type(None)),
    "replaced_task_nesting": (int, type(None)),
    "stamped_headers": (list, type(None)),
    "stamps": (dict, type(None)),
    "compression": _TEXT,
}


def envelope_problem(payload: object) -> str | None:
    """Of the JSON value that was in the queue: kombu's envelope around any kind of message."""
    if not isinstance(payload, dict):
        return f"not a message: JSON {type(payload).__name__} where kombu's envelope is an object"
    properties = payload.get("properties")
    if not isinstance(properties, dict):
        return "not a message: no properties"
    if not isinstance(properties.get("delivery_tag"), str):
        return "not a message: no delivery_tag"
    info = properties.get("delivery_info")
    if not isinstance(info, dict):
        return "not a message: no delivery_info"
    if not isinstance(info.get("exchange"), str) or not isinstance(info.get("routing_key"), str):
        return "not a message: delivery_info without exchange and routing_key"
    if not isinstance(payload.get("body"), str):
        return "not a message: no body"
    encoding = properties.get("body_encoding")
    if not isinstance(encoding, _TEXT) or (encoding and encoding.lower()) not in BODY_ENCODINGS:
        return f"unknown body_encoding {encoding!r:.80}"
    if not isinstance(payload.get("headers"), dict | None):
        return "headers are not an object"
    for name in ("content-type", "content-encoding"):
        if not isinstance(payload.get(name), _TEXT):
            return f"{name} is not a string"
    for name in ("correlation_id", "reply_to"):
        if not isinstance(properties.get(name), _TEXT):
            return f"{name} is not a string"
    return None


def headers_problem(headers: dict[str, Any]) -> str | None:
    """Of a task message's headers, as Celery's message protocol 2 has them."""
    for name in ("task", "id"):
        value = headers.get(name)
        if value is None:
            return f"no {name} in the headers: not a task message of protocol 2"
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH or not value.isprintable():
            return f"header {name} is not a name: {value!r:.80}"
    for name, types in _OPTIONAL.items():
        value = headers.get(name)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return f"header {name} has the wrong type: {value!r:.80}"
    if not 0 <= (headers.get("retries") or 0) <= MAX_RETRIES:
        return f"header retries is out of range: {headers['retries']!r:.80}"
    limits = headers.get("timelimit")
    if limits is not None and not (isinstance(limits, list) and len(limits) == 2 and all(map(_is_a_limit, limits))):
        return f"header timelimit is not a pair of seconds: {limits!r:.80}"
    if not all(isinstance(stamp, str) for stamp in headers.get("stamped_headers") or ()):
        return "header stamped_headers is not a list of names"
    return None


def body_problem(body: object) -> str | None:
    """Of a task message's decoded body: arguments, keyword arguments and what is to follow."""
    if not isinstance(body, list | tuple) or len(body) != 3:
        return "body is not [args, kwargs, embed]"
    args, kwargs, embed = body
    if not isinstance(args, list | tuple):
        return "body: args is not a list"
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        return "body: kwargs is not an object"
    if not isinstance(embed, dict | None):
        return "body: embed is not an object"
    for name in ("callbacks", "errbacks", "chain"):
        listed = (embed or {}).get(name)
        if listed is not None and not (isinstance(listed, list) and all(map(_is_a_signature, listed))):
            return f"body: {name} is not a list of signatures, each with task, args, kwargs and options"
    chord = (embed or {}).get("chord")
    if chord is not None and not _is_a_signature(chord):
        return "body: chord is not a signature, with task, args, kwargs and options"
    return None


def task_id_of(payload: object) -> str | None:
    """The task id in an envelope, where there is a proper one."""
    headers = payload.get("headers") if isinstance(payload, dict) else None
    task_id = headers.get("id") if isinstance(headers, dict) else None
    return (
        task_id if isinstance(task_id, str) and 0 < len(task_id) <= MAX_NAME_LENGTH and task_id.isprintable() else None
    )


def _is_a_signature(value: object) -> bool:
    """Whether Celery can send it: a part that is missing would be an AttributeError once the task itself is done."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args"), list | tuple)
        and isinstance(value.get("kwargs"), dict)
        and isinstance(value.get("options"), dict)
    )


def _is_a_limit(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9)
