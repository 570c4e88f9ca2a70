"""The dead letters: messages that nobody will work on unless an operator says so. In the Redis of the queue; knows no
Celery.

A letter of kind "poison" was a proper message that was delivered too often; it is kept whole, and its number is bounded
by what it takes
to kill a worker. Everything else is garbage, or a task that no worker knows: its body is cut, and only the newest are
kept, so that a flood of it does not fill Redis.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any, Literal

import redis

from timbral import keys
from timbral.errors import ParameterError
from timbral.queue import layout
from timbral.redis_server.replies import server_now_s

__all__ = [
    "BODY_KEPT_BYTES",
    "GARBAGE_KEPT",
    "Kind",
    "Letter",
    "count",
    "delete",
    "list_letters",
    "park",
    "send_again",
    "show",
]

Kind = Literal["poison", "unknown_task", "garbage"]

BODY_KEPT_BYTES = 65_536
"""Of a body that is not poison, this much is kept, from its beginning."""
GARBAGE_KEPT = 2_000
"""The newest so many letters are kept that are not poison."""
ARGS_SHOWN = 2_000
"""Characters of the arguments that are shown; the body has them whole."""


@dataclass(frozen=True)
class Letter:
    """A parked message.

    Attributes:
        letter_id: the task's id where the message was poison, else an id of its own.
        kind: "poison", "unknown_task" or "garbage".
        task, task_id: empty where the message did not say.
        args: the arguments as JSON, cut at ARGS_SHOWN characters; empty where there were none to be read.
        body: what was in the queue, cut at BODY_KEPT_BYTES unless it is poison.
        length: bytes of the whole body.
        reason: why it was parked.
        deliveries: how often it was delivered.
        queue: the queue that it came from.
        parked_at: seconds since the epoch.
    """

    letter_id: str
    kind: Kind
    task: str
    task_id: str
    args: str
    body: bytes
    length: int
    reason: str
    deliveries: int
    queue: str
    parked_at: float

    @property
    def is_whole(self) -> bool:
        """Whether the body was kept whole."""
        return len(self.body) == self.length

    @property
    def can_be_sent(self) -> bool:
        """Whether ``send_again`` takes it."""
        return self.is_whole and self.kind != "garbage"


def park(
    client: redis.Redis,
    body: bytes,
    *,
    kind: Kind,
    reason: str,
    queue: str,
    task: str = "",
    task_id: str = "",
    args: str = "",
    deliveries: int = 1,
) -> str:
    """Write a dead letter and return its id. The same poison parked again replaces its letter."""
    letter_id = task_id if kind == "poison" else uuid.uuid4().hex
    kept = body if kind == "poison" else body[:BODY_KEPT_BYTES]
    now = server_now_s(client)
    fields: dict[Any, Any] = {
        "kind": kind,
        "task": task,
        "task_id": task_id,
        "args": args[:ARGS_SHOWN],
        "body": kept,
        "length": len(body),
        "reason": reason,
        "deliveries": deliveries,
        "queue": queue,
        "parked_at": repr(now),
    }
    with client.pipeline() as pipe:
        pipe.delete(keys.dead_letter(letter_id))
        pipe.hset(keys.dead_letter(letter_id), mapping=fields)
        pipe.zadd(keys.DEAD_LETTERS, {letter_id: now})
        if kind != "poison":
            pipe.zadd(keys.DEAD_LETTERS_GARBAGE, {letter_id: now})
            pipe.zrange(keys.DEAD_LETTERS_GARBAGE, 0, -GARBAGE_KEPT - 1)
        results = pipe.execute()
    surplus = results[-1] if kind != "poison" else []
    for old in surplus:
        delete(client, _text(old))
    return letter_id


def count(client: redis.Redis) -> int:
    """How many letters there are."""
    return int(client.zcard(keys.DEAD_LETTERS))


def list_letters(client: redis.Redis, limit: int = 100, offset: int = 0) -> list[Letter]:
    """Letters, the newest first."""
    ids: list[Any] = client.zrevrange(keys.DEAD_LETTERS, offset, offset + limit - 1)
    found = (_read(client, _text(letter_id)) for letter_id in ids)
    return [letter for letter in found if letter is not None]


def show(client: redis.Redis, letter_id: str) -> Letter:
    """One letter.

    Raises:
        ParameterError: there is none with that id.
    """
    letter = _read(client, letter_id)
    if letter is None:
        raise ParameterError(f"No dead letter {letter_id!r}; `timbral dead-letters list` shows those that there are")
    return letter


def delete(client: redis.Redis, letter_id: str) -> bool:
    """Throw a letter away; False where there is none with that id."""
    # No transaction: a full Redis 7 refuses every command inside of one, also those that make room.
    with client.pipeline(transaction=False) as pipe:
        pipe.delete(keys.dead_letter(letter_id))
        pipe.zrem(keys.DEAD_LETTERS, letter_id)
        pipe.zrem(keys.DEAD_LETTERS_GARBAGE, letter_id)
        return bool(pipe.execute()[0])


def send_again(client: redis.Redis, letter_id: str) -> str:
    """Put the message back into its queue as if it were new, remove the letter, and return the task's id.

    Its count of deliveries begins again, and its result of failure is removed, so that waiting for it works.

    Raises:
        ParameterError: there is no such letter (it may have been sent a moment ago), or it cannot be sent: garbage, or
            cut.
    """
    letter = show(client, letter_id)
    if not letter.can_be_sent:
        problem = "it is not a message that a worker could read" if letter.is_whole else "its body was cut"
        raise ParameterError(f"Dead letter {letter_id!r} cannot be sent again: {problem} ({letter.reason})")
    message = json.loads(letter.body)
    message["headers"].pop("redelivered", None)
    message["properties"]["delivery_info"].pop("redelivered", None)
    message["properties"]["delivery_tag"] = str(uuid.uuid4())
    with client.pipeline() as pipe:
        pipe.watch(keys.dead_letter(letter_id))
        if not pipe.exists(keys.dead_letter(letter_id)):
            raise ParameterError(f"Dead letter {letter_id!r} was sent or deleted a moment ago")
        pipe.multi()
        pipe.delete(keys.dead_letter(letter_id), keys.deliveries(letter.task_id), layout.result_key(letter.task_id))
        pipe.zrem(keys.DEAD_LETTERS, letter_id)
        pipe.zrem(keys.DEAD_LETTERS_GARBAGE, letter_id)
        pipe.lpush(layout.queue_key(letter.queue, layout.priority_of(message)), json.dumps(message))
        try:
            pipe.execute()
        except redis.WatchError:
            raise ParameterError(f"Dead letter {letter_id!r} was sent or deleted a moment ago") from None
    return letter.task_id


def _read(client: redis.Redis, letter_id: str) -> Letter | None:
    raw: dict[Any, Any] = client.hgetall(keys.dead_letter(letter_id))
    fields = {_text(name): value for name, value in raw.items()}
    if not fields:
        return None
    body = fields["body"]
    return Letter(
        letter_id=letter_id,
        kind=_text(fields["kind"]),  # type: ignore[arg-type]  # the fields that this module wrote
        task=_text(fields["task"]),
        task_id=_text(fields["task_id"]),
        args=_text(fields["args"]),
        body=body if isinstance(body, bytes) else body.encode(),
        length=int(fields["length"]),
        reason=_text(fields["reason"]),
        deliveries=int(fields["deliveries"]),
        queue=_text(fields["queue"]),
        parked_at=float(fields["parked_at"]),
    )


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
