"""The engine ``ray``: each block is a Ray task, which Ray does again where a process of its is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask, solve
from timbral.errors import TrainingError

__all__ = ["RayRun", "on_ray"]

MOST_RETRIES: Final = 5

Description = dict[str, Any]


class RayRun:
    """Tasks on the cluster at ``address`` (``ray://host:10001``, ``host:6379``); None starts one on this machine.

    The hosts need timbral, and see the folder of ``store`` under the same path.
    """

    def __init__(self, store: BlockStore, address: str | None = None) -> None:
        self._ray = _connected(address)
        self._store = store

    def __call__(self, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
        remote = _remote(self._ray, solve)
        waiting = {remote.remote(task, self._store, 1): task for task in tasks}
        while waiting:
            for done in self._ray.wait(list(waiting))[0]:
                task = waiting.pop(done)
                try:
                    yield self._ray.get(done)
                except self._ray.exceptions.RayError as error:
                    yield {"half": task.half, "number": task.number, "error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """The cluster stays for the next fit."""


def on_ray(
    address: str | None, do: Callable[[Description], Description], descriptions: Sequence[Description]
) -> list[Description]:
    """What ``do`` gives for each description, each in a Ray task of its own; one may be done more than once.

    Raises:
        TrainingError: Ray has given up, or ``do`` has failed.
    """
    ray = _connected(address)
    remote = _remote(ray, do)
    try:
        found: list[Description] = ray.get([remote.remote(one) for one in descriptions])
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(f"Ray at {address or 'this machine'} has not done its part: {lines[-1][:500]}") from None
    return found


def _connected(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Imported here: only who has something done on it has it.
    import ray

    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    return ray


def _remote(ray: Any, do: Callable[..., Any]) -> Any:
    def done(*arguments: Any) -> Any:  # Ray takes functions, and no partial ones
        return do(*arguments)

    done.__name__ = done.__qualname__ = getattr(do, "__name__", "done")
    return ray.remote(num_cpus=1, max_retries=MOST_RETRIES)(done)
