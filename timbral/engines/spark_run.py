"""The engine ``spark``: each block is a Spark task, which Spark does again where an executor is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask, solve
from timbral.engines.spark_session import on_spark

__all__ = ["SparkRun"]


class SparkRun:
    """Tasks on the cluster whose Spark Connect server is at ``url`` (``sc://host:15002``).

    The executors' Python is of this one's minor version, has timbral, and sees what ``store`` is in.
    """

    def __init__(self, store: BlockStore, url: str) -> None:
        self._store = store
        self._url = url

    def __call__(self, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
        return iter(on_spark(self._url, partial(_solve, self._store), [task.as_dict() for task in tasks]))

    def close(self) -> None:
        """The session stays for the next fit."""


def _solve(store: BlockStore, fields: dict[str, Any]) -> Answer:
    return solve(BlockTask.from_dict(fields), store, 1)
