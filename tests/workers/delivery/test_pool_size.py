"""How small Flower's button and `celery control pool_shrink` make a pool."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.worker.control import Panel

import workers.app  # noqa: F401 - with it the worker has our commands


class Pool:
    num_processes = 2

    def shrink(self, n: int) -> None:
        self.num_processes -= n


@pytest.mark.parametrize(("asked", "left"), [([1], 1), ([1, 1], 1), ([5], 2), ([2], 2), ([0], 2), ([-1], 2)])
def test_a_worker_keeps_a_process(asked: list[int], left: int) -> None:
    pool = Pool()
    consumer = SimpleNamespace(
        pool=pool, controller=SimpleNamespace(autoscaler=None), _update_prefetch_count=lambda _n: None
    )

    answers = [Panel.data["pool_shrink"](SimpleNamespace(consumer=consumer), n=n) for n in asked]

    assert pool.num_processes == left
    assert [("error" in answer) for answer in answers][-1] == (asked != [1])
