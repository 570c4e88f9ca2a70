"""A message as a worker has it in hand."""

from __future__ import annotations

import json
import sys
from typing import Any

import kombu.message
from kombu.transport import virtual

from timbral.queue import layout

__all__ = ["DeliveredMessage", "encode", "work_of"]


class DeliveredMessage(virtual.Message):
    """A message whose body may be broken: then it carries the error instead of raising it."""

    begun = 0
    """How often its work was begun before, by workers that were lost."""
    work_id = "same"
    """Whether its task id is its own ("same"), was other work's before ("used"), or is that of work which runs
    ("busy")."""
    work_state = ""
    """State of the record of which work its task id is, when it was taken."""
    crashed = False
    """Whether its task ended its process: then going back to the queue counts as a delivery."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:
        self.raw = payload
        properties = payload["properties"]
        body: Any = payload.get("body")
        try:
            if body:
                body = channel.decode_body(body, properties.get("body_encoding"))
        except ValueError:
            self.errors = [sys.exc_info()]
            body = b""
        # Not virtual.Message's: it would decode again, and raise.
        kombu.message.Message.__init__(
            self,
            body=body,
            channel=channel,
            delivery_tag=properties["delivery_tag"],
            content_type=payload.get("content-type"),
            content_encoding=payload.get("content-encoding"),
            headers=payload.get("headers"),
            properties=properties,
            delivery_info=properties.get("delivery_info"),
            postencode="utf-8",
            **kwargs,
        )


def work_of(message: Any) -> str | None:
    """Which piece of work a message is; None where it does not say."""
    work = message.headers.get(layout.WORK_HEADER)
    return work if isinstance(work, str) and 0 < len(work) <= 300 else None


def encode(message: Any) -> bytes:
    """A message as it was in the queue, for a dead letter."""
    return json.dumps(message.raw).encode()
