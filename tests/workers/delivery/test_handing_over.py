"""A task goes to an idle process as soon as the worker has it, and to no busy one."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from workers.delivery.handing_over import hand_over


def of_processes(waiting: list[str]) -> tuple[Any, Any, list[list[int]]]:
    """An event loop, a pool of two processes, and what the pool was told to write to."""
    told: list[list[int]] = []
    pool = SimpleNamespace(_pool=SimpleNamespace(outbound_buffer=deque(waiting), _all_inqueues={3, 5}))
    return SimpleNamespace(consolidate_callback=told.append), pool, told


def test_what_waits_is_offered_to_every_process() -> None:
    hub, pool, told = of_processes(["task"])

    hand_over(hub, pool)

    assert [sorted(pipes) for pipes in told] == [[3, 5]]


def test_nothing_is_written_where_nothing_waits() -> None:
    hub, pool, told = of_processes([])

    hand_over(hub, pool)

    assert not told


@pytest.mark.parametrize("behind", [None, SimpleNamespace()])
def test_a_pool_of_other_kind_starts_its_tasks_itself(behind: Any) -> None:
    hub, _, told = of_processes([])

    hand_over(hub, SimpleNamespace(_pool=behind))
    hand_over(None, SimpleNamespace(_pool=behind))

    assert not told
