"""The bookkeeping of fanned-out jobs: each chunk counts once, one ends the job, and nothing is forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from timbral import keys
from timbral.errors import DataError, JobCancelledError, JobError, TaskFailedError
from timbral.logic.jobs import MAX_ATTEMPTS, Jobs

VERSION = "20260101T000000-1"


@pytest.fixture
def jobs(client: redis.Redis) -> Jobs:
    client.zadd(keys.MODEL_VERSIONS, {VERSION: 1})
    return Jobs(client)


def create(jobs: Jobs, job_id: str = "job", **options: Any) -> str:
    given = {"arguments": {"top_k": 5}, "model_version": VERSION, "n_rows": 25, "chunk_size": 10} | options
    return jobs.create(job_id, **given)


def test_chunks_are_ranges_of_rows_and_then_the_users_named(jobs: Jobs) -> None:
    create(jobs, named=[[1, 2], ["x"]])

    chunks = [jobs.begin_chunk("job", number) for number in range(6)]

    assert [(c.start, c.stop, c.user_ids) for c in chunks[:3] if c] == [(0, 10, None), (10, 20, None), (20, 25, None)]
    assert [c.user_ids for c in chunks[3:5] if c] == [[1, 2], ["x"]]
    assert chunks[5] is None
    assert chunks[0] is not None
    assert chunks[0].arguments == {"top_k": 5}


def test_a_chunk_done_twice_counts_once(jobs: Jobs) -> None:
    create(jobs)
    chunk = jobs.begin_chunk("job", 0)
    assert chunk is not None

    assert [jobs.finish_chunk(chunk, 9, 1), jobs.finish_chunk(chunk, 9, 1)] == [False, False]

    assert jobs.begin_chunk("job", 0) is None
    assert jobs.remaining("job") == [1, 2]
    assert jobs.redis.hget(keys.job("job"), "users_done") == b"9"


def test_whoever_ends_a_trial_begins_the_next_and_after_all_of_them_the_verdict(jobs: Jobs) -> None:
    options = {"task": "tune_model", "model_version": "", "n_rows": 2, "chunk_size": 1, "n_trials": 3}
    assert create(jobs, **options) == "new"
    trials = [jobs.begin_chunk("job", number) for number in range(2)]
    assert [trial.task for trial in trials if trial] == ["tune_model"] * 2
    assert jobs.begin_chunk("job", 2) is None  # its turn has not come

    progress = (33, 100, "1 trial")
    assert trials[0] is not None
    assert [jobs.finish_trial(trials[0], progress, go_on=True) for _ in range(2)] == [2, None]
    assert trials[1] is not None
    assert jobs.finish_trial(trials[1], progress, go_on=True) is None  # trial 2 is not done
    third = jobs.begin_chunk("job", 2)
    assert third is not None
    assert jobs.finish_trial(third, progress, go_on=True) == 3
    assert jobs.outcome("job") is None

    verdict = jobs.begin_chunk("job", 3)
    assert verdict is not None
    assert [jobs.finish_verdict(verdict, {"outcome": "better"}) for _ in range(2)] == [True, False]
    outcome = jobs.outcome("job")
    assert outcome is not None
    assert (outcome.task, outcome.state, outcome.answer) == ("tune_model", "succeeded", {"outcome": "better"})


def test_when_the_time_is_up_no_trial_begins_and_the_verdict_waits_for_those_that_run(jobs: Jobs) -> None:
    create(jobs, task="tune_model", model_version="", n_rows=2, chunk_size=1, n_trials=500)
    first, second = (jobs.begin_chunk("job", number) for number in range(2))
    assert first is not None
    assert second is not None

    assert jobs.finish_trial(first, (100, 100, ""), go_on=False) is None
    assert jobs.finish_trial(second, (100, 100, ""), go_on=False) == 500


def test_exactly_one_of_many_workers_finishes_the_job(jobs: Jobs) -> None:
    create(jobs, n_rows=400)
    chunks = [jobs.begin_chunk("job", number) for number in range(40)]

    with ThreadPoolExecutor(8) as pool:
        last = list(pool.map(lambda chunk: jobs.finish_chunk(chunk, 10, 0), chunks))

    assert sum(last) == 1
    outcome = jobs.outcome("job")
    assert outcome is not None
    assert outcome.answer == {"users_done": 400, "users_unknown": 0, "job_id": "job", "model_version": VERSION}


def test_a_redelivered_parent_does_not_begin_again(jobs: Jobs) -> None:
    create(jobs)
    chunk = jobs.begin_chunk("job", 1)
    assert chunk is not None
    jobs.finish_chunk(chunk, 10, 0)

    assert create(jobs) == "known"

    assert jobs.remaining("job") == [0, 2]


def test_a_job_of_a_version_that_is_gone_is_not_opened(jobs: Jobs) -> None:
    assert create(jobs, model_version="20260101T000000-2") == "gone"
    assert not jobs.is_open("job")


def test_done_and_total_can_be_read_while_it_runs(jobs: Jobs, client: redis.Redis) -> None:
    create(jobs)
    chunk = jobs.begin_chunk("job", 0)
    assert chunk is not None
    jobs.finish_chunk(chunk, 9, 1)

    assert client.hgetall(keys.progress("job")) == {b"done": b"10", b"total": b"25", b"text": b"10/25 users"}


def test_the_first_failure_ends_the_job_and_makes_the_rest_nothing_to_do(jobs: Jobs) -> None:
    create(jobs)

    assert jobs.fail("job", DataError("no room", "file"))
    assert not jobs.fail("job", ValueError("another"))

    outcome = jobs.outcome("job")
    assert outcome is not None
    assert isinstance(outcome.error, DataError)
    assert outcome.error.args == ("no room", "file")
    assert jobs.begin_chunk("job", 0) is None


def test_a_chunk_that_is_begun_again_and_again_fails_the_job(jobs: Jobs) -> None:
    create(jobs)
    for _ in range(MAX_ATTEMPTS):
        assert jobs.begin_chunk("job", 2) is not None

    assert jobs.begin_chunk("job", 2) is None

    outcome = jobs.outcome("job")
    assert outcome is not None
    assert isinstance(outcome.error, TaskFailedError)
    assert "chunk 2" in str(outcome.error)


def test_a_cancelled_job_ends_with_an_error_that_says_so(jobs: Jobs) -> None:
    create(jobs)

    assert jobs.cancel("job")
    assert not jobs.cancel("job")

    outcome = jobs.outcome("job")
    assert outcome is not None
    assert isinstance(outcome.error, JobCancelledError)
    with pytest.raises(JobCancelledError):
        jobs.check_cancelled("job")


def test_a_task_that_is_no_job_can_be_cancelled_before_it_begins(jobs: Jobs) -> None:
    assert jobs.cancel("task")

    assert jobs.is_cancelled("task")
    assert jobs.outcome("task") is None
    assert jobs.redis.ttl(keys.job("task")) > 0


def test_a_job_stays_open_until_its_outcome_was_stored(jobs: Jobs) -> None:
    create(jobs, n_rows=10)
    chunk = jobs.begin_chunk("job", 0)
    assert chunk is not None
    assert jobs.finish_chunk(chunk, 10, 0)

    assert jobs.stale(-1) == ["job"]
    assert jobs.close("job")
    assert not jobs.close("job")
    assert jobs.stale(-1) == []
    assert jobs.outcome("job") is None
    assert jobs.redis.ttl(keys.job("job")) > 0


def test_a_chunk_that_ends_after_the_job_was_cancelled_changes_nothing(jobs: Jobs) -> None:
    create(jobs, n_rows=10)
    chunk = jobs.begin_chunk("job", 0)
    assert chunk is not None
    jobs.cancel("job")

    assert not jobs.finish_chunk(chunk, 10, 0)
    assert jobs.is_cancelled("job")


def test_a_job_whose_chunks_the_server_has_let_go_fails_and_says_so(jobs: Jobs, client: redis.Redis) -> None:
    # given: a chunk that is being done, and others to come
    create(jobs)
    chunk = jobs.begin_chunk("job", 0)
    assert chunk is not None

    # when
    client.delete(keys.job_chunks("job"))

    # then: nobody takes it for done, and it does not run for ever
    assert not jobs.finish_chunk(chunk, 10, 0)
    assert jobs.begin_chunk("job", 1) is None
    outcome = jobs.outcome("job")
    assert outcome is not None
    with pytest.raises(JobError, match=f"{keys.job_chunks('job')} is gone from Redis"):
        raise outcome.error or AssertionError(outcome)
