"""Forgetting a user, with real workers: nothing of them is left, nothing else is lost, and nothing brings them back."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from erasure.conftest import OTHER, USER, mentions
from fleet_fixtures import Fleet

import producers
from timbral import keys
from timbral.history.table import HistoryTable
from timbral.utils.redis_connector import RedisConnector
from timbral.versions.model_store import ModelStore

pytestmark = pytest.mark.integration
Wait = Callable[..., None]


def test_after_forget_user_the_id_is_in_no_key_and_in_no_file(known: Fleet) -> None:
    (known.data_dir / "plays.csv").unlink()
    checkpoint = known.model_dir / "checkpoints" / "job-fit.000001.checkpoint"
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_bytes(b"factors of theirs, if of no name")
    with known.server.client() as client:
        before = mentions(client, known.directory, USER)
        assert len([name for name in before if name.startswith("models/")]) == 2
        assert {name.partition("/")[0] for name in before} >= {"models", "data", f"recommendations:user:{USER}"}
        assert f"recommendations:filtered:{USER}" in before

        receipt = producers.forget_user(USER).wait(100)

        assert mentions(client, known.directory, USER) == []
    assert not checkpoint.exists()
    removed = receipt["removed"]
    assert (removed["model_files"], removed["model_rows"], removed["history_plays"]) == (2, 2, 3)
    assert (removed["lists"], removed["vectors"], removed["new_plays"], removed["blocks"]) == (2, 1, 4, 1)
    assert removed["table_rows"] == 1
    assert receipt["data_sets"] == ["plays.csv"]
    assert USER not in json.dumps(receipt)


def test_everybody_else_keeps_what_they_had(known: Fleet) -> None:
    with known.server.client() as client, RedisConnector(known.server.url) as connector:
        store = ModelStore(client, known.model_dir)
        before = store.current()
        lists = {user: producers.get_recommendations(user) for user in before.user_ids}
        factors = before.model.get_user_embeddings(before.user_ids.codes([OTHER]))

        producers.forget_user(USER).wait(100)

        after = store.current()
        assert after is not before
        assert after.revision == 1
        assert after.model.get_user_embeddings(after.user_ids.codes([OTHER])).tolist() == factors.tolist()
        row = int(after.user_ids.codes([OTHER])[0])
        assert after.seen[row].toarray().tolist() == before.seen[row].toarray().tolist()
        assert after.users_per_item.tolist() == (after.seen != 0).sum(axis=0).tolist()[0]
        table = connector.get_embeddings("user_embeddings")
        assert len(table["ids"]) == len(table["factors"]) == len(before.user_ids) - 1
    del lists[USER]
    done = producers.enqueue_compute_recommendations().wait(100)
    assert done["users_done"] == len(lists)
    assert {user: producers.get_recommendations(user) for user in lists} == lists
    assert producers.get_recommendations(USER) is None
    assert HistoryTable(known.data_dir / "history").plays_of(OTHER).num_rows == 4


def test_what_arrives_late_does_not_bring_them_back(known: Fleet) -> None:
    producers.forget_user(USER).wait(100)

    late = [
        producers.enqueue_refresh_embeddings(plays=[{"user_id": USER, "item_id": "i103"}]),
        producers.enqueue_refresh_embeddings(user_ids=[USER, OTHER]),
        producers.enqueue_compute_recommendations(user_ids=[USER]),
        producers.enqueue_refresh_embeddings(),
        producers.enqueue_compute_recommendations(),
        producers.enqueue_train_model("plays.csv", promote="always"),
    ]
    answers = [job.wait(100) for job in late]
    producers.block_items(USER, ["i1"])
    after = producers.enqueue_compute_recommendations().wait(100)

    assert answers[1]["users"] == 1
    assert answers[2]["users_done"] == 0
    assert answers[5]["n_users"] == 119
    assert after["users_done"] == 119
    with known.server.client() as client:
        (known.data_dir / "plays.csv").unlink()
        assert mentions(client, known.directory, USER) == []


def test_a_forget_whose_worker_is_killed_is_finished_by_the_next_one(known: Fleet, wait_until: Wait) -> None:
    with known.server.client() as client:
        worker = known.workers[0]
        for _ in range(4):
            producers.enqueue_train_model("plays.csv", promote="always", random_state=_ + 10).wait(100)
        versions = client.zcard(keys.MODEL_VERSIONS)

        job = producers.forget_user(USER)
        # In the middle: some versions are rewritten, and some are not.
        wait_until(lambda: client.hlen(keys.MODEL_REVISIONS) > 0, 30, "the first version's rewriting")
        worker.kill()
        assert client.hlen(keys.MODEL_REVISIONS) < versions
        assert not job.done
        known.start(environment={"ARCHIVE_EVERY_S": "0"})

        receipt = job.wait(100)

        assert receipt["removed"]["model_rows"] in (versions, versions - 1)
        (known.data_dir / "plays.csv").unlink()
        assert mentions(client, known.directory, USER) == []


def test_messages_and_records_that_name_them_name_nobody_afterwards(fleet: Fleet, wait_until: Wait) -> None:
    # Given messages that wait, are held by a stopped worker, and lie parked
    with fleet.server.client() as client:
        app = Celery("foreign", broker=f"{fleet.server.url}/0", set_as_current=False)
        app.send_task("unknown_task", kwargs={"who": USER}, queue="batch")
        client.lpush("celery", f"garbage about {USER} and others")
        fleet.start()
        wait_until(lambda: client.zcard(keys.DEAD_LETTERS) == 2, 30, "two dead letters")
        job = producers.forget_user(USER)
        app.close()
        refused = app.send_task("train_model", kwargs={"dataset": "../" + USER}, queue="training")
        assert job.wait(100)["removed"]["dead_letters"] == 2
        again = producers.forget_users([USER])
        again.wait(100)
        assert mentions(client, fleet.directory / "models", USER) == [], refused


def test_a_batch_that_holds_the_old_model_writes_no_list_of_theirs(known: Fleet, wait_until: Wait) -> None:
    with known.server.client() as client:
        first = known.workers[0]
        second = known.start(environment={"ARCHIVE_EVERY_S": "0"})[0]
        first.signal(signal.SIGSTOP)
        for pid in first.children():
            import os

            os.kill(pid, signal.SIGSTOP)
        producers.forget_user(USER).wait(100)
        for pid in first.children():
            os.kill(pid, signal.SIGCONT)
        first.signal(signal.SIGCONT)
        second.stop()

        answer: dict[str, Any] = producers.enqueue_compute_recommendations(user_ids=[USER, OTHER]).wait(100)

        assert (answer["users_done"], answer["users_unknown"]) == (1, 1)
        assert client.exists(keys.recommendations_user(USER)) == 0
