"""From a play to a list, to the history, to a training: what an app gets that does nothing but record plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from fleet_fixtures import Watch
from taste import history

import producers
from timbral import keys
from timbral.history.table import HistoryTable
from timbral.utils import plain_pickle

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def app(bench: Any) -> Iterator[None]:
    producers.connect(bench.fleet.server.url)
    yield
    producers.connect()


@pytest.fixture
def table(bench: Any) -> HistoryTable:
    return HistoryTable(bench.fleet.data_dir / "history")


def recommended(user_id: object) -> list[Any]:
    return [entry["item_id"] for entry in producers.get_recommendations(user_id) or []]


def in_history(table: HistoryTable, user_id: int | str) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in table.plays_of(user_id).to_pylist():
        found[row["item_id"]] = found.get(row["item_id"], 0.0) + row["plays"]
    return found


def test_a_new_users_first_plays_give_them_a_list_and_a_vector(bench: Any, cache: redis.Redis, wait_until: Any) -> None:
    recorded = producers.record_plays([{"user_id": 5, "item_id": item, "plays": 3} for item in (300, 301, 302, 303)])

    assert recorded == 4
    wait_until(lambda: recommended(5), 30, "a list")
    assert {item // 100 for item in recommended(5)} == {3}
    assert not set(recommended(5)) & {300, 301, 302, 303}
    wait_until(lambda: cache.get("embeddings:user:5"), 5, "a vector")
    assert plain_pickle.loads(cache.get("embeddings:user:5"))["vector"].shape == (8,)


def test_the_next_play_changes_the_list(bench: Any, cache: redis.Redis, wait_until: Any) -> None:
    producers.record_plays([{"user_id": 6, "item_id": 100}])
    wait_until(lambda: recommended(6), 30, "a list")
    first = recommended(6)[0]

    producers.record_plays([{"user_id": 6, "item_id": first}])

    wait_until(lambda: first not in recommended(6), 10, "a list without it")
    assert recommended(6)


def test_an_event_counts_once(bench: Any, cache: redis.Redis) -> None:
    play = {"user_id": "newcomer", "item_id": 100, "event_id": "e1"}

    assert producers.record_plays([play, play]) == 1
    assert producers.record_plays([play, play | {"event_id": "e2"}]) == 1
    assert cache.llen(keys.plays_user("newcomer")) == 2


def test_a_burst_is_a_refresh_or_two(bench: Any, cache: redis.Redis, wait_until: Any) -> None:
    with Watch(bench.fleet.server) as watch:
        for number in range(200):
            producers.record_plays([{"user_id": 900 + user, "item_id": number % 80} for user in range(20)])
        wait_until(lambda: not cache.exists(keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING), 30, "the end of it")
        n_tasks = watch.executions_by_name()["refresh_played"]

    assert 1 <= n_tasks < 150
    pending = cache.lindex(keys.plays_user(900), -1).split()[0]
    assert cache.hget(keys.PLAYS_LISTED, keys.recommendations_user(900)) == pending


def test_a_play_of_an_unknown_item_is_kept_and_counted(bench: Any, cache: redis.Redis, wait_until: Any) -> None:
    producers.record_plays([{"user_id": 1000, "item_id": 424242}, {"user_id": "stranger", "item_id": 424243}])

    wait_until(lambda: cache.hget(keys.PLAYS_COUNTS, "unknown_items") == b"2", 30, "the count")
    wait_until(lambda: not cache.exists(keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING), 10, "the end of it")
    assert cache.llen(keys.plays_user(1000)) == 1
    assert producers.get_recommendations("stranger") is None


def test_the_history_has_each_play_and_the_next_training_learns_from_it(
    bench: Any, cache: redis.Redis, table: HistoryTable
) -> None:
    rows = history(80, seed=5)
    producers.record_plays([{"user_id": u, "item_id": i, "plays": n, "event_id": f"{u}-{i}"} for u, i, n in rows])
    producers.record_plays([{"user_id": 1000, "item_id": 777}])

    answer = producers.enqueue_train_model(promote="always").wait(100)

    assert answer["promoted"]
    assert (answer["n_users"], answer["n_interactions"]) >= (80, len(rows) + 1)
    assert in_history(table, 1000)["777"] == 1
    assert {int(i): n for i, n in in_history(table, 1001).items()} == {i: n for u, i, n in rows if u == 1001}
    record = json.loads(cache.get(keys.model_metadata(answer["model_version"])))
    assert record["history"]["version"] == table.version()
    assert record["history"]["watermark"] == table.watermark()
    assert cache.xlen(keys.PLAYS_STREAM) == 0
    assert not cache.exists(keys.plays_user(1000), keys.PLAYS_USERS)


def test_plays_after_the_watermark_stay_pending(bench: Any, cache: redis.Redis, table: HistoryTable) -> None:
    producers.record_plays([{"user_id": 1003, "item_id": 100}])
    producers.enqueue_train_model(promote="never").wait(100)
    version = table.version()
    producers.record_plays([{"user_id": 1003, "item_id": 100, "plays": 5}])

    producers.enqueue_train_model(history_version=version, promote="always").wait(100)

    (pending,) = cache.lrange(keys.plays_user(1003), 0, -1)
    assert json.loads(pending.split(b" ", 1)[1])[:2] == [100, 5.0]
    assert cache.smembers(keys.PLAYS_USERS) == {b"1003"}


def test_a_training_on_a_version_of_the_history_can_be_repeated_to_the_bit(bench: Any, cache: redis.Redis) -> None:
    producers.record_plays([{"user_id": u, "item_id": i, "plays": n + 0.1} for u, i, n in history(60, seed=9)])
    first = producers.enqueue_train_model(promote="never", half_life_days=30).wait(100)
    version = json.loads(cache.get(keys.model_metadata(first["model_version"])))["history"]["version"]
    producers.record_plays([{"user_id": 1, "item_id": 2}])
    producers.enqueue_train_model(promote="never").wait(100)

    again = producers.enqueue_train_model(promote="never", half_life_days=30, history_version=version).wait(100)

    assert again["model_version"] != first["model_version"]
    assert (again["loss"], again["metrics"], again["n_interactions"]) == (
        first["loss"],
        first["metrics"],
        first["n_interactions"],
    )
