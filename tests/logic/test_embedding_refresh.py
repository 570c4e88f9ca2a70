"""Embeddings in the cache: whole tables, in shards where they are large, and one user's vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis
from taste import history, served_model

from timbral import keys
from timbral.errors import RedisUnavailableError
from timbral.lists.forgotten import Forgotten
from timbral.logic import embedding_refresh
from timbral.logic.embedding_refresh import EmbeddingRefresh
from timbral.logic.overlay import Overlay
from timbral.messages import Play
from timbral.plays.user_replies import UserReplies
from timbral.stack.embedded_server import EmbeddedServer
from timbral.utils.redis_connector import RedisConnector
from timbral.versions.served_model import ServedModel


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return served_model(history())


@pytest.fixture
def connector(redis_server: EmbeddedServer) -> Iterator[RedisConnector]:
    with RedisConnector(redis_server.url) as made:
        yield made


def test_tables_hold_original_ids_and_factors(
    client: redis.Redis, connector: RedisConnector, served: ServedModel
) -> None:
    assert EmbeddingRefresh(client, connector, served).everybody() == (120, 80)

    users, items = (connector.get_embeddings(key) for key in (keys.USER_EMBEDDINGS, keys.ITEM_EMBEDDINGS))
    assert users is not None
    assert items is not None
    assert users["ids"].tolist() == list(range(1000, 1120))
    assert np.array_equal(users["factors"], served.model.user_factors)
    assert np.array_equal(items["factors"], np.asarray(served.model.item_factors).T)
    assert users["model_version"] == items["model_version"] == served.version
    assert 0 < client.ttl("embeddings:user_embeddings") <= 43_200


def test_a_large_table_lies_in_shards_that_come_before_the_list_of_them(
    client: redis.Redis, connector: RedisConnector, served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_refresh, "SHARD_BYTES", 50 * 8 * 4)
    seen: list[tuple[int, int]] = []

    EmbeddingRefresh(client, connector, served).everybody(
        lambda done, total: seen.append((done, total, client.exists("embeddings:user_embeddings")))
    )

    manifest = connector.get_embeddings(keys.USER_EMBEDDINGS)
    assert manifest is not None
    assert (manifest["shards"], manifest["rows"]) == (3, 120)
    shards = [connector.get_embeddings(key) for key in manifest["shard_keys"]]
    assert np.array_equal(np.concatenate([s["factors"] for s in shards if s]), served.model.user_factors)
    assert [int(i) for s in shards if s for i in s["ids"]] == list(range(1000, 1120))
    assert seen[:3] == [(1, 5, 0), (2, 5, 0), (3, 5, 0)]
    assert seen[3] == (4, 5, 1)


def test_a_users_vector_is_that_of_their_list(
    client: redis.Redis, connector: RedisConnector, served: ServedModel
) -> None:
    Overlay(client).add_plays("t", [Play(user_id=5, item_id=300), Play(user_id=5, item_id=301)])

    assert EmbeddingRefresh(client, connector, served).users([1000, 5, 6], 4) == (2, 1)

    trained, folded = (connector.get_embeddings(keys.user_embedding_name(user)) for user in (1000, 5))
    assert trained is not None
    assert folded is not None
    assert np.array_equal(trained["vector"], served.model.get_user_embeddings([0])[0])
    assert folded["model_version"] == served.version
    rows = served.rows_with_plays(np.array([-1], np.int32), [{300: 1.0, 301: 1.0}])
    assert np.allclose(folded["vector"], served.model.fold_in(rows)[0])
    assert client.exists("recommendations:user:1000", "recommendations:user:5") == 2


def test_list_and_vector_are_written_in_one_step_that_also_says_that_nobody_was_forgotten(
    client: redis.Redis, connector: RedisConnector, served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = UserReplies([1000], None, [], [None], [[]], [[]])
    EmbeddingRefresh(client, connector, served).users([1000], 4, replies)  # the server knows the script now
    sent: list[str] = []
    execute = client.execute_command
    monkeypatch.setattr(
        client, "execute_command", lambda *args, **options: (sent.append(args[0]), execute(*args, **options))[1]
    )

    assert EmbeddingRefresh(client, connector, served).users([1000], 4, replies) == (1, 0)

    assert sent == ["EVALSHA"]
    assert client.exists("recommendations:user:1000", "embeddings:user:1000") == 2
    assert client.ttl("recommendations:user:1000") != client.ttl("embeddings:user:1000")


@pytest.mark.parametrize("user_id", [1000, 5])
def test_a_user_who_is_forgotten_while_their_list_is_made_has_neither_list_nor_vector(
    client: redis.Redis,
    connector: RedisConnector,
    served: ServedModel,
    monkeypatch: pytest.MonkeyPatch,
    user_id: int,
) -> None:
    Overlay(client).add_plays("t", [Play(user_id=5, item_id=300)])
    recommend = served.model.recommend

    def forgotten_meanwhile(*args: Any, **options: Any) -> Any:
        Forgotten(client).add([user_id])
        return recommend(*args, **options)

    monkeypatch.setattr(served.model, "recommend", forgotten_meanwhile)

    assert EmbeddingRefresh(client, connector, served).users([user_id, 1001], 4) == (1, 1)

    assert not client.exists(*keys.of_user(user_id))
    assert client.exists("recommendations:user:1001", "embeddings:user:1001") == 2


def test_a_vector_from_fewer_plays_than_the_list_knows_of_is_not_written(
    client: redis.Redis, connector: RedisConnector, served: ServedModel
) -> None:
    EmbeddingRefresh(client, connector, served).users([1000], 4)
    before = client.get("recommendations:user:1000"), client.get("embeddings:user:1000")
    client.hset(keys.PLAYS_LISTED, "recommendations:user:1000", "99999999999999-0")

    client.set("recommendations:user:1000", "newer")
    client.set("embeddings:user:1000", "newer")
    EmbeddingRefresh(client, connector, served).users([1000], 4)

    assert None not in before
    assert client.get("recommendations:user:1000") == client.get("embeddings:user:1000") == b"newer"


def test_a_write_that_fails_is_an_error(client: redis.Redis, served: ServedModel) -> None:
    with RedisConnector("redis://127.0.0.1:1") as away, pytest.raises(RedisUnavailableError, match="user_embeddings"):
        EmbeddingRefresh(client, away, served).everybody()
    with redis.Redis.from_url("redis://127.0.0.1:1") as nowhere, pytest.raises(redis.ConnectionError):
        EmbeddingRefresh(nowhere, RedisConnector(), served).users([1000], 4)
