"""The jobs that ended last: the newest first, so many, and none that names a user."""

from __future__ import annotations

import pytest
import redis

from timbral import keys
from timbral.queue import ended_jobs


def test_the_newest_come_first_and_only_so_many_are_kept(client: redis.Redis) -> None:
    for number in range(ended_jobs.KEPT + 20):
        ended_jobs.note(client, f"job-{number}", "train_model", "SUCCESS", {"dataset": "x.csv"})

    found = ended_jobs.list_ended(client, 2, offset=1)

    assert [one.id for one in found] == [f"job-{ended_jobs.KEPT + 18}", f"job-{ended_jobs.KEPT + 17}"]
    assert found[0].arguments == {"dataset": "x.csv"}
    assert ended_jobs.count(client) == ended_jobs.KEPT


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("forget_users", {"user_ids": ["somebody"]}),
        ("export_user", {"user_id": "somebody"}),
        ("compute_recommendations", {"user_ids": ["somebody"], "top_k": 5}),
        ("refresh_embeddings", {"plays": [{"user_id": "somebody", "item_id": 1}]}),
        ("a task of another app", {"name": "somebody"}),
    ],
)
def test_nobodys_id_is_kept(client: redis.Redis, task: str, arguments: dict[str, object]) -> None:
    ended_jobs.note(client, "a job", task, "FAILURE", arguments)

    (kept,) = client.lrange(keys.JOBS_ENDED, 0, -1)
    assert b"somebody" not in kept
    assert ended_jobs.list_ended(client, 1)[0].arguments is None


def test_what_somebody_else_wrote_there_is_left_out(client: redis.Redis) -> None:
    ended_jobs.note(client, "a job", "train_model", "SUCCESS", None)
    client.lpush(keys.JOBS_ENDED, "no json", "[]", "{}")

    assert [one.id for one in ended_jobs.list_ended(client, 10)] == ["a job"]
