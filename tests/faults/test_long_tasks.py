"""A task that takes longer than the visibility timeout."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.faults


def test_a_task_five_times_longer_than_the_visibility_timeout_runs_once_in_every_kind_of_pool(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: a worker of each kind with a queue of its own, and one that would take whatever looks lost
    environment = {"VISIBILITY_TIMEOUT_S": "3"}
    faults.start(1, queues="celery", pool="prefork", environment=environment)
    faults.start(1, queues="batch", pool="solo", environment=environment)
    faults.start(1, queues="training", pool="threads", environment=environment)
    task_ids = [faults.send("work", queue, queue=queue, seconds=15) for queue in ("celery", "batch", "training")]
    wait_until(lambda: all(faults.begun(queue) for queue in ("celery", "batch", "training")), 30, "the beginnings")
    faults.start(1, environment=environment)

    # then
    wait_until(lambda: all(map(faults.succeeded, task_ids)), 45, "success")
    for queue in ("celery", "batch", "training"):
        assert (faults.begun(queue), faults.done(queue)) == (1, 1), queue
    wait_until(lambda: faults.held() == 0, 5, "the acknowledgements")
    observed("a task 5 × VT, two workers; prefork, solo, threads", "begun once and done once, in each")
