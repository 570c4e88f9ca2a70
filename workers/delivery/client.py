"""The Redis client that kombu's channel is given: what it reads from a queue is a message, and no error reply ends a
worker.

kombu asks its client for everything, so this is the one place to keep garbage and refusals away from it; it replaces no
code of kombu's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from kombu.utils.json import dumps
from redis.client import PubSub
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from timbral.queue import layout
from timbral.queue.patience import PatientPipeline, PatientRedis, RefusedError, refused
from workers.delivery.reading import broadcast_problem, readable

__all__ = ["Client"]

logger = logging.getLogger(__name__)

Park = Callable[[bytes, str, str], None]


class _PubSub(PubSub):
    def parse_response(self, *args: Any, **options: Any) -> Any:
        try:
            reply = super().parse_response(*args, **options)
        except ResponseError as error:
            raise refused(error) from error
        if isinstance(reply, list | tuple) and reply and reply[0] in (b"pmessage", b"message"):
            problem = broadcast_problem(reply[-1])
            if problem:
                logger.warning("Dropped an event or control message on %r: %s", reply[-2], problem)
                return None
        return reply


class Client(PatientRedis):
    """For one channel.

    Args:
        park: ``park(value, queue, reason)``, called with what is no message.
    """

    answered_at = 0.0
    """When Redis last answered this client's BRPOP, with a message or without (time.monotonic)."""

    def __init__(self, *args: Any, park: Park, **options: Any) -> None:
        super().__init__(*args, **options)
        self._park = park

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        try:
            reply = super().parse_response(connection, command_name, **options)
        except NoScriptError:
            raise
        except ResponseError as error:
            # Of what kombu sends, nothing is wrong by itself: whatever the server objects to, somebody can put right
            # while the worker waits.
            raise refused(error) from error
        if command_name == "BRPOP":
            self.answered_at = time.monotonic()
            if reply:
                message = self._readable(reply[1], reply[0])
                return None if message is None else (reply[0], message)
        return reply

    def rpop(self, name: Any, count: int | None = None) -> Any:
        while value := super().rpop(name, count):
            message = self._readable(value, name) if isinstance(value, bytes) else value
            if message is not None:
                return message
        return None

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        try:
            return super().evalsha(sha, numkeys, *keys_and_args)
        except RefusedError as error:
            if not isinstance(error.__cause__, OutOfMemoryError):
                raise
            logger.warning("Redis is full: bindings of queues are left as they are")
            return 0

    def pipeline(
        self,
        transaction: bool = True,  # noqa: ARG002 - redis-py's signature
        shard_hint: Any = None,
    ) -> PatientPipeline:
        # A full Redis 7 refuses every command inside MULTI, also those that free memory; kombu's pipelines need no
        # transaction.
        return _Pipeline(self.connection_pool, self.response_callbacks, False, shard_hint)

    def pubsub(self, **options: Any) -> PubSub:
        return _PubSub(self.connection_pool, **options)

    def _readable(self, value: bytes, key: bytes | str) -> str | None:
        queue = layout.queue_of_key(key.decode() if isinstance(key, bytes) else str(key))
        message, problem = readable(value, queue)
        if message is None:
            self._park(value, queue, problem)
            return None
        text: str = dumps(message)
        return text


class _Pipeline(PatientPipeline):
    """Where Redis is full, a queue stays bound as it was, and a worker starts all the same."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        names = [command[0][0] for command in self.command_stack]
        replies = super().execute(raise_on_error and "SADD" not in names)
        for place, (name, reply) in enumerate(zip(names, replies, strict=False)):
            if isinstance(reply, OutOfMemoryError) and name == "SADD":
                logger.warning("Redis is full: bindings of queues are left as they are")
                replies[place] = 0
            elif isinstance(reply, Exception) and raise_on_error:
                raise refused(reply) from reply
        return replies
