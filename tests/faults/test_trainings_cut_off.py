"""Trainings whose processes are killed, on one machine and on the fleet: they end with the bits of one that never
was cut off."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet_fixtures import Fleet, Watch
from taste import history, write_history

import producers
from producers.connections import connections
from timbral.engines.block_task import BlockTask
from timbral.errors import JobCancelledError
from timbral.models.nmf_model import NMFModel
from timbral.utils.data_loader import DataLoader
from timbral.versions.served_model import ServedModel

pytestmark = pytest.mark.faults

ASKED: dict[str, Any] = {"n_components": 96, "max_iter": 30, "tol": 0.0}


@pytest.fixture
def slow_data(fleet: Fleet) -> Iterator[Path]:
    producers.connect(fleet.server.url)
    yield write_history(fleet.data_dir / "slow.csv", history(3000, seed=2))
    producers.connect()


@pytest.fixture
def uncut(slow_data: Path) -> NMFModel:
    """The model of a training in this process."""
    data = DataLoader().load_csr(slow_data)
    return NMFModel(96, None, 30, 0.0, n_threads=1).fit(data.matrix, times=data.times)


def assert_same(fleet: Fleet, answer: dict[str, Any], uncut: NMFModel) -> None:
    version = answer["model_version"]
    served = ServedModel.read(fleet.model_dir / f"{version}.safetensors", version)
    assert served.record["loss_per_iteration"] == uncut.training_history
    np.testing.assert_array_equal(served.model._users(), uncut._users())
    np.testing.assert_array_equal(served.model._items(), uncut._items())


def checkpoints(fleet: Fleet) -> dict[str, int]:
    """The newest sweep of each fit."""
    found: dict[str, int] = {}
    for path in (fleet.model_dir / "checkpoints").glob("*.checkpoint"):
        key, sweep, _ = path.name.split(".")
        found[key] = max(int(sweep), found.get(key, 0))
    return found


def test_a_trainer_killed_in_a_sweep_goes_on_there(
    fleet: Fleet, uncut: NMFModel, wait_until: Any, observed: Any
) -> None:
    # given: one with a checkpoint after each sweep, in its second fit, which is the one that goes live
    (worker,) = fleet.start(environment={"CHECKPOINT_EVERY_S": "0"})
    job = producers.enqueue_train_model("slow.csv", **ASKED)
    wait_until(lambda: sorted(checkpoints(fleet).values())[:1] > [4] and len(checkpoints(fleet)) == 2, 60, "sweep 5")

    # when
    worker.kill_child()
    reached = min(checkpoints(fleet).values())

    # then
    assert_same(fleet, job.wait(100), uncut)
    went_on = [line for line in worker.log.splitlines() if "resuming from a checkpoint" in line]
    assert len(went_on) == 2, "the first fit, which was done, and the second"
    assert f"sweep={reached}" in went_on[1] or f'"sweep": {reached}' in went_on[1], went_on
    assert checkpoints(fleet) == {}, "nothing of it is left"

    # and: nor is anything left of one that is killed when it has been cancelled, and has not heard of it yet
    cancelled = producers.enqueue_train_model("slow.csv", **ASKED | {"random_state": 1})
    wait_until(lambda: checkpoints(fleet), 60, "a checkpoint")
    (child,) = worker.children()
    os.kill(child, signal.SIGSTOP)
    cancelled.cancel()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(JobCancelledError):
        cancelled.wait(100)
    assert checkpoints(fleet) == {}
    observed("kill -9 of a trainer in a sweep", f"the next delivery goes on at sweep {reached + 1} of 30, same bits")


def test_workers_killed_under_a_training_on_the_fleet_change_no_bit(
    fleet: Fleet, uncut: NMFModel, wait_until: Any, observed: Any
) -> None:
    # given: a trainer that drives, and two workers that do the blocks
    environment = {"TRAIN_ENGINE": "fleet", "TRAIN_BLOCKS": "6", "TRAIN_CACHE_DIR": str(fleet.directory / "cache")}
    with Watch(fleet.server) as watch:
        workers = [
            fleet.worker(queues=queue, environment=environment).spawn() for queue in ("training", "batch", "batch")
        ]
        for worker in workers:
            worker.wait_ready()
        job = producers.enqueue_train_model("slow.csv", **ASKED)
        blocks = watch.executions_by_name
        wait_until(lambda: blocks()["train_block"] > 60, 60, "blocks")

        # when: a process of one is killed, and the other one is lost with all that it has
        workers[1].kill_child()
        wait_until(lambda: blocks()["train_block"] > 90, 60, "more blocks")
        workers[2].kill()

        # then
        assert_same(fleet, job.wait(100), uncut)
        done_by = {event["hostname"] for event in watch.events if event["type"] == "task-succeeded"}
        assert {"worker1@test", "worker2@test"} <= done_by

        # and: a block that comes when its training has ended
        late = BlockTask(job.id, 3, 0, "users", 0, 1, 0.0, 0.5, 0.0, False, "")
        connections().broker.publish("train_block", late.as_dict(), "late")
        ended = {"type": "task-succeeded", "uuid": "late"}
        wait_until(lambda: any(ended.items() <= event.items() for event in watch.events), 60, "the late block")
    assert list((fleet.model_dir / "blocks").iterdir()) == []
    with fleet.server.client() as client:
        assert client.keys("train:*") == []
    observed("kill -9 of workers under a training on the fleet", "their blocks are done again, same bits")
