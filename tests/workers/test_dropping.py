"""Dropped is dropped: by `celery purge`, by `timbral queue drop`, and by revoking a part of a job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from fleet_fixtures import Fleet

import producers
from timbral import keys
from timbral.errors import JobCancelledError, ParameterError
from timbral.logic.dropping import drop_queue
from timbral.logic.submitted import Submitted


@pytest.fixture
def connected(fleet: Fleet) -> Iterator[None]:
    producers.connect(fleet.server.url)
    yield
    producers.connect()


def test_what_celery_purges_is_not_done(fleet: Fleet, connected: None, client: redis.Redis, wait_until: Any) -> None:
    # given: five trainings that wait, and no worker
    jobs = [producers.enqueue_train_model(f"nowhere{n}.csv") for n in range(5)]
    worker = fleet.worker()

    # when
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "purge", "-f"]
    said = subprocess.run(
        command, env=worker.environment, cwd=fleet.directory, capture_output=True, text=True, timeout=60
    )

    # then: no rescue brings them back, and who waits is told
    assert "Purged 5 messages" in said.stdout, said
    assert not client.exists(keys.SUBMITTED)
    worker.start()
    after = producers.enqueue_train_model("nowhere.csv")
    wait_until(lambda: after.done, 60, "the next task")
    assert all(job.id not in worker.log for job in jobs)
    for job in jobs:
        assert job.state == "REVOKED"
        with pytest.raises(JobCancelledError):
            job.wait(1)


def test_a_queue_is_dropped_all_of_it_or_one_task(client: redis.Redis, connected: None) -> None:
    train = [producers.enqueue_train_model("a.csv") for _ in range(3)]
    lists = [producers.enqueue_compute_recommendations(user_ids=[n]) for n in range(3)]
    plays = [producers.enqueue_refresh_embeddings(user_ids=[n]) for n in range(3)]
    waiting = client.lrange("celery", 0, -1)

    assert drop_queue(client, client, "celery", "compute_recommendations") == 3
    assert client.lrange("celery", 0, -1) == [one for one in waiting if b'"refresh_embeddings"' in one]
    assert [job.state for job in (*lists, *plays)] == ["REVOKED"] * 3 + ["PENDING"] * 3
    assert drop_queue(client, client, "training") == 3
    assert [job.state for job in train] == ["REVOKED"] * 3
    assert drop_queue(client, client, "training") == 0
    with pytest.raises(ParameterError, match="trainings"):
        drop_queue(client, client, "trainings")


def test_a_drop_that_is_cut_off_has_dropped_nothing_without_a_word(
    client: redis.Redis, connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: killed at the second of three messages that it is to drop, among three that it is to leave
    lists = [producers.enqueue_compute_recommendations(user_ids=[n]) for n in range(3)]
    plays = [producers.enqueue_refresh_embeddings(user_ids=[n]) for n in range(3)]
    calls: list[str] = []

    def killed(self: Any, *task_ids: str) -> None:
        calls.append(task_ids[0])
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Submitted, "forget", killed)
        with pytest.raises(KeyboardInterrupt):
            drop_queue(client, client, "celery", "compute_recommendations")

    assert sorted(job.state for job in lists) == ["PENDING", "REVOKED", "REVOKED"]
    assert [job.state for job in plays] == ["PENDING"] * 3
    assert client.llen("celery") == 4, "the others wait on, where workers take them"
    assert drop_queue(client, client, "celery", "compute_recommendations") == 1


def test_a_job_of_which_a_chunk_is_revoked_is_cancelled_and_says_so(
    bench: Any, cache: redis.Redis, wait_until: Any
) -> None:
    bench.celery.control.revoke("doomed.3", reply=True, timeout=5)

    sent = bench.celery.send_task("compute_recommendations", task_id="doomed")

    wait_until(lambda: sent.state == "FAILURE", 30, "its result")
    assert type(sent.result).__name__ == "JobCancelledError"
    wait_until(lambda: cache.zscore(keys.JOBS_OPEN, "doomed") is None, 10, "the end of the job")
