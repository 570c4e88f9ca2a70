"""Reading what lies in a queue: an envelope with a message of Celery's protocol 2 in it. Protocol 1 is made into 2."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from kombu.utils.json import loads

from timbral.queue import layout
from timbral.queue.envelope import envelope_problem

__all__ = ["broadcast_problem", "loaded", "readable"]

_CARRIED = ("retries", "eta", "expires", "timelimit")
_EMBEDDED = ("callbacks", "errbacks", "chord")


def readable(value: bytes, queue: str) -> tuple[dict[str, Any] | None, str]:
    """The envelope in ``value`` as this delivery's, or None and the problem in words."""
    try:
        payload = loads(value.decode())
    except Exception as error:  # whatever a foreign value does to the decoder
        return None, f"not a message: not JSON ({error!r:.200})"
    problem = envelope_problem(payload)
    if problem:
        return None, problem
    message = _as_protocol_2(payload)
    properties = message["properties"]
    # Which work it is, the sender says, or the tag that the sender gave it.
    message["headers"] = {layout.WORK_HEADER: properties["delivery_tag"]} | (message.get("headers") or {})
    # A new tag for each delivery: a worker that comes back to life cannot acknowledge what is no longer its own.
    properties["delivery_tag"] = str(uuid.uuid4())
    # Where it goes back to, whatever its sender has written there.
    properties["delivery_info"].update(exchange="", routing_key=queue)
    return message, ""


def loaded(value: bytes) -> Any:
    """The JSON value, None where it is none."""
    try:
        return loads(value.decode())
    except Exception:
        return None


def broadcast_problem(value: bytes) -> str | None:
    """Of an event or a control message on a channel."""
    return envelope_problem(loaded(value)) if value else None


def _as_protocol_2(payload: dict[str, Any]) -> dict[str, Any]:
    """Protocol 1 has in its body what protocol 2 has in its headers."""
    if "task" in (payload.get("headers") or {}):
        return dict(payload)
    try:
        encoded = payload["properties"].get("body_encoding")
        body = json.loads(base64.b64decode(payload["body"]) if encoded else payload["body"])
    except ValueError:
        return dict(payload)
    if not isinstance(body, dict) or "task" not in body:
        return dict(payload)
    args, kwargs = body.get("args"), body.get("kwargs")
    task_id = body.get("id")
    group = body.get("taskset") or body.get("group")
    headers = {
        "lang": "py", "task": body["task"], "id": task_id, "root_id": task_id, "parent_id": None, "group": group,
        "argsrepr": repr(args)[:1024], "kwargsrepr": repr(kwargs)[:1024], **{name: body.get(name) for name in _CARRIED},
    }  # fmt: skip
    embedded = {name: body.get(name) for name in _EMBEDDED}
    text = json.dumps([[] if args is None else args, kwargs, embedded])
    properties = payload["properties"] | {"body_encoding": "base64"}
    properties.setdefault("correlation_id", task_id if isinstance(task_id, str) else None)
    made = {"headers": headers, "properties": properties, "body": base64.b64encode(text.encode()).decode()}
    return payload | made | {"content-type": "application/json", "content-encoding": "utf-8"}
