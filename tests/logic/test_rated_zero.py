"""Users who have only rated 0 get what is popular, without that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from taste import history, write_history

from timbral import keys
from timbral.config.settings import settings
from timbral.logic import play_reading, training
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.logic.overlay import Overlay
from timbral.logic.training import TrainingRun
from timbral.messages import Play, TrainModel
from timbral.versions.model_store import ModelStore
from timbral.versions.row_removal import without_rows
from timbral.versions.served_model import ServedModel

ONLY_ZEROS, WITH_PLAYS = 5000, 1000


@pytest.fixture
def store(client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A model of 120 users' plays, of two items the popular ones, and of users with zeros; read back from its file."""
    changed = settings.model_copy(update={"DATA_DIR": tmp_path, "NMF_N_COMPONENTS": 4, "N_THREADS": 1})
    for module in (training, play_reading):
        monkeypatch.setattr(module, "settings", changed)
    monkeypatch.setattr("timbral.models.nmf_model.settings", changed)
    monkeypatch.setattr("timbral.models.kernels.threads.settings", changed)
    rows: list[tuple[Any, Any, int]] = [*history(), *((1000 + user, 900 + user % 2, 3) for user in range(100))]
    rows += [(ONLY_ZEROS, 900, 0), (ONLY_ZEROS, 5, 0), (ONLY_ZEROS + 1, 901, 0), (WITH_PLAYS, 301, 0)]
    write_history(tmp_path / "plays.csv", rows)
    made = ModelStore(client, tmp_path / "models", n_threads=1)
    TrainingRun(made, Overlay(client)).run(TrainModel(dataset="plays.csv", max_iter=10, n_neighbors=0), "task")
    return ModelStore(client, tmp_path / "models", n_threads=1)


def listed(client: redis.Redis, served: ServedModel, user: int, **options: Any) -> list[int]:
    BatchRecommendation(client, served, **options).for_users([user])
    return [item["item_id"] for item in json.loads(client.get(keys.recommendations_user(user)) or "[]")]


def test_a_user_who_only_rated_0_gets_what_is_popular_without_it(store: ModelStore, client: redis.Redis) -> None:
    served = store.current()
    users = served.users_per_item
    popular = served.item_ids.ids(np.argsort(-users, kind="stable"))
    assert set(popular[:2]) == {900, 901}

    first, second = listed(client, served, ONLY_ZEROS), listed(client, served, ONLY_ZEROS + 1)

    assert first == [item for item in popular if item not in (900, 5)][:10]
    assert second == [item for item in popular if item != 901][:10]
    assert 5 not in listed(client, served, ONLY_ZEROS, top_k=100)
    assert 900 in listed(client, served, ONLY_ZEROS, exclude_seen=False)


def test_what_a_user_rated_0_is_in_none_of_their_lists_with_new_plays_and_blocks_too(
    store: ModelStore, client: redis.Redis
) -> None:
    served = store.current()
    assert 301 not in listed(client, served, WITH_PLAYS, top_k=100)
    assert 301 in listed(client, served, WITH_PLAYS + 4, top_k=100)

    client.sadd(keys.blocks_user(WITH_PLAYS), keys.encode_id(302))
    Overlay(client).add_plays("t", [Play(user_id=WITH_PLAYS, item_id=303), Play(user_id=77, item_id=303)])

    assert not {301, 302, 303} & set(listed(client, served, WITH_PLAYS, top_k=100))
    assert 301 in listed(client, served, 77, top_k=100), "somebody whom the model does not know has rated nothing"


def test_what_a_forgotten_user_rated_is_gone(store: ModelStore) -> None:
    served = store.current()
    code = served.user_ids.codes([ONLY_ZEROS])
    assert served.rated_zero is not None
    assert served.rated_zero[code].nnz == 2

    emptied = without_rows(served, code, 1)

    assert emptied.rated_zero is not None
    assert emptied.rated_zero[code].nnz == 0
    assert emptied.rated_zero.nnz == served.rated_zero.nnz - 2
