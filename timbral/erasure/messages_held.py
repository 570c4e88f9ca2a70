"""Messages that name users: waiting in a queue, with a worker, or parked as dead letters. In the Redis of the queue."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

import redis

from timbral import keys
from timbral.erasure.receipt import Receipt
from timbral.erasure.subject import Subject
from timbral.errors import ParameterError
from timbral.messages import MESSAGES, REFRESH_PLAYED
from timbral.queue import dead_letters, layout
from timbral.redis_server.replies import text

__all__ = ["MessagesHeld"]

PER_CALL: Final = 500
OURS: Final = frozenset({*MESSAGES, *layout.ROUTED_TASKS, REFRESH_PLAYED})
REPR_LENGTH: Final = 1024
"""Celery cuts what it says of the arguments in a message's headers at this."""

REPLACE_IN_LIST = """
-- KEYS: a queue. ARGV: a message that is in it, what shall be there ('' for nothing).
if ARGV[2] == '' then return redis.call('LREM', KEYS[1], 0, ARGV[1]) end
local place = redis.call('LPOS', KEYS[1], ARGV[1])
if not place then return 0 end
redis.call('LSET', KEYS[1], place, ARGV[2])
return 1
"""

REPLACE_IN_HASH = """
-- KEYS: a hash. ARGV: field, what is there, what shall be there.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""

REPLACE_FIELDS = """
-- KEYS: a hash. ARGV: fields and values. Nothing where it was deleted meanwhile.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""


class MessagesHeld:
    """The queues, what workers hold, and the dead letters.

    Args:
        broker: the Redis of the queue.
        task_id: of the erasure itself, whose own message has to stay what it is until it is done.
    """

    def __init__(self, broker: redis.Redis, task_id: str) -> None:
        self.broker = broker
        self.task_id = task_id
        self._in_list = broker.register_script(REPLACE_IN_LIST)
        self._in_hash = broker.register_script(REPLACE_IN_HASH)
        self._fields = broker.register_script(REPLACE_FIELDS)

    def theirs(self, subject: Subject) -> list[Any]:
        """What of the messages names them: plays on their way, requests of theirs."""
        found: list[Any] = []
        for _, raw in self._waiting():
            found += _parts(_loaded(raw), subject)
        for _, raw in self.broker.hscan_iter(layout.UNACKED, count=PER_CALL):
            found += _parts(_first(raw), subject)
        for letter in self._letters():
            found += _parts(_loaded(letter.body), subject)
        return [part for part in found if part]

    def redact(self, subject: Subject, receipt: Receipt) -> None:
        """Put pseudonyms where messages name them, and drop their plays. What is no message of ours, and names them,
        goes whole."""
        for queue, raw in self._waiting():
            changed = self._redacted(_readable(raw), subject)
            if changed is not None:
                receipt.add("messages", int(self._in_list(keys=[queue], args=[raw, changed])))
        for field, raw in self.broker.hscan_iter(layout.UNACKED, count=PER_CALL):
            envelope = _first(raw)
            changed = None if envelope is None else self._redacted(json.dumps(envelope), subject)
            if changed:
                rest = json.loads(raw)[1:]
                made = json.dumps([json.loads(changed), *rest])
                receipt.add("messages", int(self._in_hash(keys=[layout.UNACKED], args=[field, raw, made])))
        for letter in self._letters():
            self._redact_letter(letter, subject, receipt)

    def _redact_letter(self, letter: dead_letters.Letter, subject: Subject, receipt: Receipt) -> None:
        changed = self._redacted(_readable(letter.body), subject) if letter.is_whole else None
        said = subject.mentioned_in(letter.args) or subject.mentioned_in(letter.reason)
        if changed == "" or (not letter.is_whole and (said or subject.mentioned_in(_readable(letter.body)))):
            receipt.add("dead_letters", int(dead_letters.delete(self.broker, letter.letter_id)))
        elif changed is not None or said:
            fields: dict[Any, Any] = {"args": subject.blotted(letter.args), "reason": subject.blotted(letter.reason)}
            if changed is not None:
                fields |= {"body": changed, "length": len(changed.encode())}
            flat = [part for field in fields.items() for part in field]
            receipt.add("dead_letters", int(self._fields(keys=[keys.dead_letter(letter.letter_id)], args=flat)))

    def _waiting(self) -> Iterator[tuple[str, Any]]:
        """Queue and message; the message that was looked at may have been taken meanwhile."""
        for queue in layout.all_queue_keys():
            # From the new end on: what is pushed meanwhile shows an item twice, and hides none.
            start = 0
            while items := self.broker.lrange(queue, start, start + PER_CALL - 1):
                yield from ((queue, item) for item in items)
                start += PER_CALL

    def _letters(self) -> Iterator[dead_letters.Letter]:
        for letter_id in self.broker.zrange(keys.DEAD_LETTERS, 0, -1):
            with contextlib.suppress(ParameterError):  # deleted or sent meanwhile
                yield dead_letters.show(self.broker, text(letter_id))

    def _redacted(self, raw: str, subject: Subject) -> str | None:
        """The message without them; None where it does not name them, '' where all of it has to go."""
        envelope = _loaded(raw)
        headers = envelope.get("headers") if isinstance(envelope, dict) else None
        if not isinstance(headers, dict) or headers.get("task") not in OURS:
            return "" if subject.mentioned_in(raw) or _parts(envelope, subject) else None
        if headers.get("id") == self.task_id:
            return None
        body = _body_of(envelope)
        changed = subject.redacted(body)
        said = {
            name: subject.blotted(value)
            for name, value in headers.items()
            if isinstance(value, str) and name in ("argsrepr", "kwargsrepr") and subject.mentioned_in(value)
        }
        if changed == body and not said:
            return None
        if changed != body:
            said["kwargsrepr"] = repr(changed[1])[:REPR_LENGTH]
        made = envelope | {"headers": headers | said, "body": _encoded(changed, envelope)}
        return json.dumps(made)


def _parts(envelope: Any, subject: Subject) -> list[Any]:
    return subject.theirs(_body_of(envelope)) if isinstance(envelope, dict) else []


def _body_of(envelope: dict[str, Any]) -> Any:
    body: Any = envelope.get("body")
    try:
        return json.loads(base64.b64decode(body) if _is_base64(envelope) else body)
    except (TypeError, ValueError):
        return None


def _encoded(body: Any, envelope: dict[str, Any]) -> str:
    made = json.dumps(body)
    return base64.b64encode(made.encode()).decode() if _is_base64(envelope) else made


def _is_base64(envelope: dict[str, Any]) -> bool:
    properties = envelope.get("properties")
    return isinstance(properties, dict) and properties.get("body_encoding") == "base64"


def _loaded(raw: Any) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _readable(raw: Any) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def _first(raw: Any) -> Any:
    """The message in an entry of ``unacked``, which holds it beside its exchange and its queue."""
    loaded = _loaded(raw)
    return loaded[0] if isinstance(loaded, list) and loaded else None
