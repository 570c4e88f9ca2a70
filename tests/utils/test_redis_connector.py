"""RedisConnector with a server that is there."""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.testing import assert_array_equal

from timbral.errors import ParameterError
from timbral.stack.embedded_server import EmbeddedServer
from timbral.utils import redis_connector
from timbral.utils.redis_connector import RedisConnector


@pytest.fixture
def connector(redis_server: EmbeddedServer) -> Any:
    with RedisConnector(redis_server.url) as made:
        yield made


def test_it_needs_no_arguments_and_reads_the_settings() -> None:
    connector = RedisConnector()
    assert connector.address == "redis://127.0.0.1:1/0"
    assert connector.redis_client is None


def test_recommendations_are_json_under_the_documented_key_with_a_ttl(
    connector: RedisConnector, client: redis.Redis
) -> None:
    listed = [{"item_id": "Björk", "score": 0.5}, {"item_id": 2**62, "score": 0.25}]
    assert connector.set_recommendations(7, listed, ttl=60) is True
    assert json.loads(client.get("recommendations:user:7")) == listed
    assert 50 < client.ttl("recommendations:user:7") <= 60
    assert connector.get_recommendations(7) == listed
    assert connector.get_recommendations("7") == listed
    assert connector.get_recommendations(8) is None


def test_the_default_lives_are_an_hour_and_a_day(connector: RedisConnector, client: redis.Redis) -> None:
    connector.set_recommendations(1, [])
    connector.set_embeddings("a", [])
    assert 3590 < client.ttl("recommendations:user:1") <= 3600
    assert 86390 < client.ttl("embeddings:a") <= 86400


def test_numpy_numbers_and_arrays_become_json(connector: RedisConnector) -> None:
    given = [{"item_id": np.int64(3), "score": np.float32(0.5)}, np.arange(3)]
    assert connector.set_recommendations(np.int64(1), given)
    assert connector.get_recommendations(1) == [{"item_id": 3, "score": 0.5}, [0, 1, 2]]


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), [float("inf")], np.array([np.nan]), {(1, 2): 3}])
def test_what_is_not_json_is_refused_by_name_and_nothing_is_written(
    connector: RedisConnector, client: redis.Redis, value: Any
) -> None:
    with pytest.raises(ParameterError, match="JSON"):
        connector.set_recommendations(1, value)
    assert client.dbsize() == 0


@pytest.mark.parametrize("ttl", [0, -1, 1.5, "60", True, None])
def test_a_ttl_that_is_no_number_of_seconds_is_refused(connector: RedisConnector, ttl: Any) -> None:
    for write in (
        lambda: connector.set_recommendations(1, [], ttl=ttl),
        lambda: connector.set_embeddings("a", [], ttl=ttl),
        lambda: connector.set_recommendations_many({1: []}, ttl=ttl),
        lambda: connector.set_embeddings_many({"a": []}, ttl=ttl),
    ):
        with pytest.raises(ParameterError, match="ttl must be a whole number of seconds above 0"):
            write()


def test_json_that_is_damaged_reads_as_none_and_is_logged(
    connector: RedisConnector, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set("recommendations:user:1", b'[{"item_id": 1')
    client.set("recommendations:user:2", b"\xff\xfe")
    client.set("recommendations:user:3", "[" * 100_000)
    with caplog.at_level(logging.WARNING, "timbral.utils.redis_connector"):
        assert connector.get_recommendations_many([1, 2, 3]) == {1: None, 2: None, 3: None}
        assert connector.get_recommendations(1) is None
    assert "recommendations:user:1" in caplog.text


def test_embeddings_are_pickles_that_plain_pickle_loads_reads(connector: RedisConnector, client: redis.Redis) -> None:
    vector = np.arange(8, dtype=np.float32)
    assert connector.set_embeddings("user:1", {"model_version": "v1", "vector": vector}) is True
    assert pickle.loads(client.get("embeddings:user:1"))["model_version"] == "v1"
    found = connector.get_embeddings("user:1")
    assert found["vector"].dtype == np.float32
    assert_array_equal(found["vector"], vector)
    assert connector.get_embeddings("user:2") is None


def test_embeddings_that_could_not_be_read_again_are_not_written(
    connector: RedisConnector, client: redis.Redis
) -> None:
    with pytest.raises(ParameterError, match="plain data"):
        connector.set_embeddings("a", Path("x"))
    with pytest.raises(ParameterError, match="plain data"):
        connector.set_embeddings("a", np.array([None]))
    assert client.dbsize() == 0


def test_a_hostile_pickle_in_redis_is_refused_logged_and_never_run(
    connector: RedisConnector, client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'written'}",)

    client.set("embeddings:user:1", pickle.dumps({"vector": Hostile()}))
    assert connector.get_embeddings("user:1") is None
    assert connector.get_embeddings_many(["user:1"]) == {"user:1": None}
    assert not (tmp_path / "written").exists()
    assert "embeddings:user:1" in caplog.text
    assert "posix.system" in caplog.text


def test_the_batch_forms_write_and_read_more_than_one_round_trip(
    connector: RedisConnector, client: redis.Redis
) -> None:
    n_users = redis_connector.BATCH + 5
    lists = {user_id: [{"item_id": user_id, "score": 1.0}] for user_id in range(n_users)}
    assert connector.set_recommendations_many(lists, ttl=60) is True
    assert client.dbsize() == n_users
    assert client.ttl(f"recommendations:user:{n_users - 1}") > 0
    assert connector.get_recommendations_many(range(n_users)) == lists
    assert connector.get_recommendations_many(["nobody"]) == {"nobody": None}
    vectors = {f"user:{i}": np.full(3, i) for i in range(3)}
    assert connector.set_embeddings_many(vectors) is True
    found = connector.get_embeddings_many([*vectors, "none"])
    assert found is not None
    assert found["none"] is None
    assert_array_equal(found["user:2"], [2, 2, 2])
    assert connector.delete_keys(client.keys("recommendations:*")) == n_users
    assert connector.delete_keys(["none"]) == 0
    assert connector.set_recommendations_many({}) is True
    assert connector.get_recommendations_many([]) == {}


def test_a_batch_takes_one_round_trip(connector: RedisConnector, redis_server: EmbeddedServer) -> None:
    lists = {user_id: [] for user_id in range(500)}
    connector.set_recommendations_many(lists)
    with redis_server.client() as client:
        before = client.info("stats")["total_reads_processed"]
        connector.get_recommendations_many(lists)
        # The reads of INFO itself and of the batch; a bulk may come in a few pieces.
        assert client.info("stats")["total_reads_processed"] - before < 10


def test_deleting_says_whether_the_key_was_there(connector: RedisConnector, client: redis.Redis) -> None:
    client.set("a", 1)
    assert connector.delete_key("a") is True
    assert connector.delete_key("a") is False
    assert client.get("a") is None


def test_the_health_check_tells_version_memory_and_latency(connector: RedisConnector, client: redis.Redis) -> None:
    report = connector.health_check()
    info: Any = client.info()
    assert report["status"] == "healthy"
    assert report["error"] is None
    assert 0 < report["latency_ms"] < 1000
    assert report["version"] in (info.get("valkey_version"), info["redis_version"])
    assert report["memory_bytes"] > 100_000
    assert report["memory"].endswith(("K", "M", "G"))


def test_an_error_of_the_server_is_an_answer_of_false_and_not_an_outage(
    connector: RedisConnector, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.lpush("recommendations:user:1", "a list")
    assert connector.get_recommendations(1) is None
    assert "WRONGTYPE" in caplog.text
    assert connector.redis_client is not None
    client.config_set("maxmemory", "1")
    try:
        assert connector.set_recommendations(2, []) is False
        assert connector.set_recommendations_many({2: []}) is False
    finally:
        client.config_set("maxmemory", "0")
    assert connector.set_recommendations(2, []) is True


def test_after_close_it_answers_false_and_none(redis_server: EmbeddedServer) -> None:
    connector = RedisConnector(redis_server.url)
    assert connector.set_recommendations(1, [1])
    connector.close()
    connector.close()
    assert connector.redis_client is None
    assert connector.get_recommendations(1) is None
    assert connector.set_recommendations(1, []) is False
    assert connector.health_check()["error"] == "the connector is closed"


def test_many_threads_share_one_connector(connector: RedisConnector) -> None:
    failures: list[str] = []

    def work(worker: int) -> None:
        for step in range(50):
            name = f"{worker}-{step}"
            if not connector.set_recommendations(name, [name]) or connector.get_recommendations(name) != [name]:
                failures.append(name)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_forked_child_and_its_parent_do_not_read_each_others_answers(connector: RedisConnector) -> None:
    connector.set_recommendations("parent", ["parent"])
    child = os.fork()
    if child == 0:
        good = all(
            connector.set_recommendations("child", [i]) and connector.get_recommendations("child") == [i]
            for i in range(200)
        )
        os._exit(0 if good else 1)
    good = all(connector.get_recommendations("parent") == ["parent"] for _ in range(200))
    assert os.waitpid(child, 0)[1] == 0
    assert good
    assert connector.get_recommendations("child") == [199]


def test_a_password_is_never_logged_or_shown(redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture) -> None:
    url = redis_server.url.replace("redis://", "redis://somebody:s3cret@")
    with caplog.at_level(logging.DEBUG):
        connector = RedisConnector(url)
        connector.set_recommendations(1, [])
        report = connector.health_check()
    assert report["status"] == "unhealthy"
    shown = caplog.text + str(report) + connector.address + repr(connector)
    assert "127.0.0.1" in shown
    assert "s3cret" not in shown
    with pytest.raises(ParameterError) as raised:
        RedisConnector("http://somebody:s3cret@127.0.0.1")
    assert "s3cret" not in str(raised.value)


def test_writing_in_batches_takes_far_fewer_round_trips_than_lists(connector: RedisConnector) -> None:
    lists = {user_id: [{"item_id": user_id, "score": 1.0}] * 10 for user_id in range(2000)}
    client = connector.redis_client
    assert client is not None
    before = client.info("stats")["total_writes_processed"]

    connector.set_recommendations_many(lists)

    assert client.info("stats")["total_writes_processed"] - before < len(lists) / 10
    assert connector.get_recommendations(1999) == lists[1999]
