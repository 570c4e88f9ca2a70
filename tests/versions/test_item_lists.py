"""Similar and popular items of a version: as the model says, and switched in with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from taste import history, served_model

from timbral import keys
from timbral.errors import ModelFileError
from timbral.versions.model_store import ModelStore


@pytest.fixture
def store(client: redis.Redis, tmp_path: Path) -> ModelStore:
    return ModelStore(client, tmp_path / "models", n_threads=1)


def trained(store: ModelStore, name: str, seed: int = 1) -> str:
    version = store.trainings.begin(name).version
    store.write(served_model(history(seed=seed), version))
    return version


def stored(client: redis.Redis, key: str) -> Any:
    return json.loads(client.get(key) or "null")


def test_each_item_gets_the_items_that_the_model_finds_most_similar(store: ModelStore, client: redis.Redis) -> None:
    store.promote(trained(store, "a"))
    served = store.current()

    for code in range(0, len(served.item_ids), 7):
        (item,) = served.item_ids.ids([code])
        codes, scores = served.model.similar_items(code, top_k=20)
        listed = stored(client, keys.similar_item(item))
        assert [entry["item_id"] for entry in listed] == served.item_ids.ids(codes)
        assert [entry["score"] for entry in listed] == pytest.approx(scores.tolist(), abs=1e-4)
        assert 0 < client.ttl(keys.similar_item(item)) <= 21_600
    assert len(stored(client, keys.RECOMMENDATIONS_POPULAR)) == 10


def test_lists_change_with_the_version_and_go_back_with_it(store: ModelStore, client: redis.Redis) -> None:
    first, second = trained(store, "a", 1), trained(store, "b", 2)
    seen = []
    for change in (lambda: store.promote(first), lambda: store.promote(second), store.roll_back):
        change()
        live = [client.get(keys.MODEL_CURRENT), client.get(keys.SIMILAR_VERSION)]
        assert live[0] == live[1]
        seen.append([client.get(keys.similar_item(item)) for item in (1, 101, 205)])

    assert seen[0] == seen[2] != seen[1]
    assert list(client.scan_iter("similar:staged:*")) == []


def test_a_version_that_does_not_go_live_leaves_the_lists_alone(store: ModelStore, client: redis.Redis) -> None:
    first, second = trained(store, "a", 1), trained(store, "b", 2)
    store.promote(second)
    before = client.get(keys.similar_item(1))

    assert store.promote(first) == "stale"

    assert client.get(keys.similar_item(1)) == before
    assert client.get(keys.SIMILAR_VERSION) == second.encode()
    assert list(client.scan_iter("similar:staged:*")) == []


def test_hidden_items_are_not_popular(store: ModelStore, client: redis.Redis) -> None:
    version = trained(store, "a")
    store.promote(version)
    most = stored(client, keys.RECOMMENDATIONS_POPULAR)[0]["item_id"]
    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(most))

    store.promote(version)

    assert most not in [entry["item_id"] for entry in stored(client, keys.RECOMMENDATIONS_POPULAR)]


def test_similar_items_of_another_model_are_refused(store: ModelStore) -> None:
    version = trained(store, "a")
    served = store.get(version)
    from timbral.models.file import model_file

    tensors, texts = model_file.read(store.files.path(version))
    tensors = {name: tensor.copy() for name, tensor in tensors.items()}
    tensors["similar.items"][0, 0] = served.model.n_items
    model_file.write(store.files.path(version), tensors, texts)

    with pytest.raises(ModelFileError, match="similar items"):
        ModelStore(store.redis, store.model_dir).get(version)
