"""Producers and a real worker: the three tasks from another app, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from celery import Celery
from fleet_fixtures import Fleet

import producers
from timbral.errors import (
    DataError,
    DatasetNotFoundError,
    JobCancelledError,
    MissingColumnsError,
    TaskFailedError,
    TimbralError,
)
from timbral.messages import ANSWERS
from timbral.utils.redis_connector import RedisConnector

pytestmark = pytest.mark.integration

USER = 1002
"""Likes genre 2: the items 200 to 219."""


@pytest.fixture
def data_dir(live: Fleet) -> Path:
    return live.data_dir


def test_train_then_recommend_then_read(live: Fleet) -> None:
    told: list[producers.Progress] = []
    training = producers.enqueue_train_model("plays.csv", random_state=5, promote="always")
    answer = training.wait(60, on_progress=lambda state, progress: told.append(progress))
    assert set(ANSWERS["train_model"]) <= set(answer)
    assert answer["promoted"] is True
    assert training.state == "SUCCESS"
    assert training.result == answer
    assert any(progress.total > 0 and progress.text for progress in told)
    assert producers.job(training.id).task == "train_model"
    with live.server.client() as client:
        client.delete(*client.keys("recommendations:user:*"))
    done = producers.enqueue_compute_recommendations(user_ids=[USER, 5]).wait(100)
    assert (done["users_done"], done["users_unknown"]) == (1, 1)
    listed = producers.get_recommendations(USER)
    assert listed is not None
    assert len(listed) == 10
    assert [item["score"] for item in listed] == sorted((item["score"] for item in listed), reverse=True)
    assert sum(item["item_id"] // 100 == 2 for item in listed) >= 8
    assert producers.get_recommendations(5) is None


def test_everybody_is_fanned_out_and_the_job_tells_how_many_are_done(live: Fleet) -> None:
    told: list[producers.Progress] = []
    job = producers.enqueue_compute_recommendations(top_k=4)
    answer = job.wait(60, on_progress=lambda state, progress: told.append(progress))
    assert answer["users_done"] >= 120
    assert job.progress.done == job.progress.total == told[-1].total == answer["users_done"]
    assert len(producers.get_recommendations(USER) or []) == 4
    assert producers.get_popular()
    assert producers.get_recommendations("a stranger", popular_if_cold=True) == producers.get_popular()


def test_a_play_changes_a_users_vector_and_list_and_blocks_hold(live: Fleet) -> None:
    producers.enqueue_compute_recommendations(user_ids=[USER]).wait(100)
    before = producers.get_recommendations(USER) or []
    played = before[0]["item_id"]
    answer = producers.enqueue_refresh_embeddings(plays=[{"user_id": USER, "item_id": played, "plays": 9}]).wait(100)
    assert (answer["users"], answer["plays"]) == (1, 1)
    after = producers.get_recommendations(USER) or []
    assert played not in [item["item_id"] for item in after]
    blocked = after[0]["item_id"]
    producers.block_items(USER, [blocked])
    assert blocked not in [item["item_id"] for item in producers.get_recommendations(USER) or []]
    producers.enqueue_compute_recommendations(user_ids=[USER]).wait(100)
    with live.server.client() as client:
        assert f'"item_id":{blocked}' not in client.get(f"recommendations:user:{USER}").decode().replace(" ", "")
    producers.unblock_items(USER, [blocked])
    with RedisConnector(live.server.url) as cache:
        stored = cache.get_embeddings(f"user:{USER}")
    assert stored is not None
    assert stored["vector"].dtype == np.float32


BAD: dict[str, tuple[str, dict[str, Any], type[TimbralError], str]] = {
    "no such file": ("", {}, DatasetNotFoundError, "bad.csv"),
    "missing column": ("user_id,colour\n1,2\n", {}, MissingColumnsError, "Missing required columns: ['item_id']"),
    "a text for a number": ("user_id,item_id,rating\n1,2,3\n1,4,lots\n", {}, DataError, "rating"),
    "a negative rating": ("user_id,item_id,rating\n1,2,-3\n", {}, DataError, "-3"),
    "an empty file": ("user_id,item_id\n", {}, DataError, "bad.csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_comes_back_as_the_workers_own_error(name: str, data_dir: Path) -> None:
    content, options, error_class, said = BAD[name]
    path = data_dir / "bad.csv"
    path.unlink(missing_ok=True)
    if content:
        path.write_text(content)
    job = producers.enqueue_train_model("bad.csv", **options)
    with pytest.raises(error_class) as raised:
        job.wait(100)
    assert said in str(raised.value)
    assert not isinstance(raised.value, TaskFailedError)
    assert job.state == "FAILURE"


def test_a_cancelled_job_ends_as_cancelled(live: Fleet) -> None:
    jobs = [producers.enqueue_train_model("plays.csv", random_state=seed, max_iter=400, tol=0) for seed in range(3)]
    assert jobs[-1].cancel() is True
    with pytest.raises(JobCancelledError):
        jobs[-1].wait(100)
    assert jobs[-1].state == "REVOKED"
    for job in jobs[:-1]:
        job.wait(100)


def test_an_app_without_our_code_sends_tasks_by_name_with_no_queue(live: Fleet) -> None:
    app = Celery("foreign", broker=f"{live.server.url}/0", set_as_current=False)
    try:
        sent = app.send_task("train_model", kwargs={"dataset": "plays.csv", "random_state": 3, "promote": "never"})
        assert producers.job(sent.id).wait(100)["promoted"] is False
        sent = app.send_task("refresh_embeddings", kwargs={"user_ids": [USER]})
        assert producers.job(sent.id).wait(100)["users"] == 1
        sent = app.send_task("train_model", kwargs={"dataset": 7, "typo": 1})
        with pytest.raises(ValueError, match="typo: no such argument"):
            producers.job(sent.id).wait(100)
    finally:
        app.close()


def test_what_is_done_is_no_longer_noted_as_submitted(live: Fleet, wait_until: Any) -> None:
    job = producers.enqueue_compute_recommendations(user_ids=[USER])
    job.wait(100)
    with live.server.client() as client:
        wait_until(lambda: not client.hexists("tasks:submitted", job.id), 10)
