"""Reading users' lists out of the cache, many users in one round trip.

Requests that arrive while Redis is being asked wait for the next question and share it: one MGET for all of them. A
lone request asks at once.
"""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import Any

from pydantic_core import from_json
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from timbral import keys
from timbral.lists.served_list import Item

__all__ = ["CachedLists", "parse_list"]

Answer = dict[str, tuple[bytes | None, bool]]
MAX_USERS = 128
MAX_QUESTIONS = 4


class _Question:
    """The users that one round trip asks for."""

    def __init__(self) -> None:
        self.user_ids: list[str] = []
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class CachedLists:
    """Lists by the user's id as text: 1 and "1" share their key in Redis, and so they share their list here.

    It speaks over connections of its own, taken from ``pool`` and kept: the pool's and the pipeline's bookkeeping would
    cost more than the question.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._idle: list[AbstractConnection] = []
        self._waiting: list[_Question] = []
        self._running: set[asyncio.Task[None]] = set()
        self._n_asking = 0

    async def read(self, user_id: str) -> tuple[bytes | None, bool]:
        """``(raw, has_blocks)``: the list's JSON as it is in Redis, or None, and whether anything may be blocked.

        ``has_blocks`` may be true for another user's sake, never false for want of looking.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        if not self._waiting or len(self._waiting[-1].user_ids) >= MAX_USERS:
            self._waiting.append(_Question())
            if self._n_asking < MAX_QUESTIONS:
                self._n_asking += 1
                task = asyncio.get_running_loop().create_task(self._ask())
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        question = self._waiting[-1]
        question.user_ids.append(user_id)
        # Waited for beside the others: a client that goes away must not take their answer with it.
        await asyncio.wait((question.answer,))
        return question.answer.result()[user_id]

    async def close(self) -> None:
        """Give up what is being asked, and close the connections."""
        for task in self._running:
            task.cancel()
        while self._idle:
            await self._idle.pop().disconnect()

    async def _ask(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._waiting.pop(0))
        finally:
            self._n_asking -= 1  # here and not when the task is reaped: a question could come in between

    async def _answer(self, question: _Question) -> None:
        try:
            question.answer.set_result(await self._look_up(question.user_ids))
        except Exception as error:
            question.answer.set_exception(error)
            question.answer.exception()  # whoever asked may be gone; then nobody else fetches it
        except asyncio.CancelledError:
            question.answer.cancel()
            raise

    async def _look_up(self, user_ids: list[str]) -> Answer:
        lists = ("MGET", *(keys.recommendations_user(user_id) for user_id in user_ids))
        blocks = ("EXISTS", keys.BLOCKS_ITEMS, *(keys.blocks_user(user_id) for user_id in user_ids))
        try:
            raw, n_blocks = await self._round_trip(lists, blocks)
        except (RedisConnectionError, OSError):
            # Once more on a new one: after a restart of Redis every kept connection is dead.
            while self._idle:
                await self._idle.pop().disconnect(nowait=True)
            raw, n_blocks = await self._round_trip(lists, blocks)
        return {user_id: (one, n_blocks > 0) for user_id, one in zip(user_ids, raw, strict=True)}

    async def _round_trip(self, *commands: tuple[str, ...]) -> list[Any]:
        connection = self._idle.pop() if self._idle else self._pool.make_connection()
        try:
            if not connection.is_connected:
                await connection.connect()
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            answers = [await connection.read_response() for _ in commands]
        except BaseException:
            # An answer may be still on its way; nobody else must get it.
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return answers


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
        if type(item) is not dict or not _is_id(item.get("item_id")) or not _is_score(item.get("score")):
            return None
    return items


def _is_id(value: object) -> bool:
    return type(value) is str or (type(value) is int and -(2**63) <= value < 2**63)


def _is_score(value: object) -> bool:
    # JSON's 1e999 is read as infinity, which JSON cannot say.
    return value is None or (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) < 2**63)
