"""Reading listeners' lists out of the cache, many listeners in one round trip.

Requests that arrive while Redis is being asked wait for the next question and share it: one MGET for all of them. A lone
request asks at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json
from redis.asyncio import Redis

from timbral import keys

__all__ = ["CachedLists", "Item", "parse_list"]

Item = dict[str, Any]
MAX_LISTENERS = 128
MAX_QUESTIONS = 4


@dataclass
class _Question:
    """The listeners that one round trip asks for, each once."""

    user_ids: list[str] = field(default_factory=list)
    answer: asyncio.Future[dict[str, tuple[bytes | None, bool]]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class CachedLists:
    """Lists by the listener's id as text: 1 and "1" share their key in Redis, and so they share their list here."""

    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._waiting: list[_Question] = []
        self._running: set[asyncio.Task[None]] = set()

    async def read(self, user_id: str) -> tuple[bytes | None, bool]:
        """``(raw, has_blocks)``: the list's JSON as it is in Redis, or None, and whether anything may be blocked.

        ``has_blocks`` may be true for another listener's sake, never false for want of looking.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        if not self._waiting or len(self._waiting[-1].user_ids) >= MAX_LISTENERS:
            self._waiting.append(_Question())
        question = self._waiting[-1]
        question.user_ids.append(user_id)
        if len(self._running) < MAX_QUESTIONS and len(self._waiting) == 1 and len(question.user_ids) == 1:
            task = asyncio.get_running_loop().create_task(self._ask())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        # Shielded: a client that goes away must not take the others' answer with it.
        return (await asyncio.shield(question.answer))[user_id]

    async def _ask(self) -> None:
        while self._waiting:
            question = self._waiting.pop(0)
            try:
                answer = await self._look_up(question.user_ids)
            except BaseException as error:
                if not question.answer.done():
                    question.answer.set_exception(error if isinstance(error, Exception) else ConnectionError("stopped"))
                    question.answer.exception()  # whoever asked may be gone; then nobody fetches it
                if not isinstance(error, Exception):
                    raise
            else:
                question.answer.set_result(answer)

    async def _look_up(self, user_ids: list[str]) -> dict[str, tuple[bytes | None, bool]]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.mget([keys.recommendations_user(user_id) for user_id in user_ids])
        pipeline.exists(keys.BLOCKS_ITEMS, *(keys.blocks_user(user_id) for user_id in user_ids))
        lists, n_blocks = await pipeline.execute()
        return {user_id: (raw, n_blocks > 0) for user_id, raw in zip(user_ids, lists, strict=True)}


def parse_list(raw: bytes | None) -> list[Item] | None:
    """The list, or None where it is not one: a value of somebody else's is not handed on."""
    if raw is None:
        return None
    try:
        items = from_json(raw, allow_inf_nan=False)
    except ValueError:
        return None
    if type(items) is not list:
        return None
    for item in items:
        if type(item) is not dict or type(item.get("item_id")) not in (int, str):
            return None
    return items
