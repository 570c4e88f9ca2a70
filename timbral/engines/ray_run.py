"""The engine ``ray``: each block is a Ray task, which Ray does again where a process of its is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask, solve

__all__ = ["RayRun"]

MOST_RETRIES: Final = 5


class RayRun:
    """Tasks on the cluster at ``address`` (``ray://host:10001``, ``host:6379``); None starts one on this machine.

    The hosts need timbral, and see the folder of ``store`` under the same path.
    """

    def __init__(self, store: BlockStore, address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Imported here: only who trains with it has it.
        import ray

        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        self._solve = ray.remote(num_cpus=1, max_retries=MOST_RETRIES)(solve)
        self._store = store

    def __call__(self, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
        waiting = {self._solve.remote(task, self._store, 1): task for task in tasks}
        while waiting:
            for done in self._ray.wait(list(waiting))[0]:
                task = waiting.pop(done)
                try:
                    yield self._ray.get(done)
                except self._ray.exceptions.RayError as error:
                    yield {"half": task.half, "number": task.number, "error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """The cluster stays for the next fit."""
