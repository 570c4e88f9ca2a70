"""A message as a worker has it in hand."""

from __future__ import annotations

import json
import sys
from typing import Any

import kombu.message
from kombu.transport import virtual

__all__ = ["DeliveredMessage", "encode"]


class DeliveredMessage(virtual.Message):
    """A message whose body may be broken: then it carries the error instead of raising it."""

    deliveries = 0
    """How often this message was delivered, this time included; 0 where that is not counted."""
    crashed = False
    """Whether its task ended its process: then going back to the queue counts as a delivery."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:
        self._raw = payload
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


def encode(message: Any) -> bytes:
    """A message as it was in the queue, for a dead letter."""
    return json.dumps(message._raw).encode()
