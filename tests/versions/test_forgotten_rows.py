"""A version without somebody: their row is empty, everybody else's numbers are what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import redis
from taste import history, served_model

from timbral.lists.forgotten import Forgotten
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel
from timbral.versions.unrecorded_files import remove_from_unrecorded


@pytest.fixture
def store(client: redis.Redis, tmp_path: Path) -> ModelStore:
    return ModelStore(client, tmp_path / "models", n_threads=1)


def live(store: ModelStore, *, text_ids: bool = False) -> ServedModel:
    version = store.trainings.begin("task").version
    made = served_model(history(text_ids=text_ids), version)
    store.write(made)
    store.promote(version)
    return store.current()


@pytest.mark.parametrize("text_ids", [False, True])
def test_a_forgotten_row_is_empty_and_the_others_stay_to_the_bit(store: ModelStore, text_ids: bool) -> None:
    before = live(store, text_ids=text_ids)
    user = "u1007" if text_ids else 1007
    code = int(before.user_ids.codes([user])[0])

    assert store.remove_forgotten(before.version, [user, "nobody"]) == 1

    after = store.current()
    others = np.delete(np.arange(len(before.user_ids)), code)
    assert user not in after.user_ids
    assert after.user_ids.ids(others) == before.user_ids.ids(others)
    assert after.forgotten_rows.tolist() == [code]
    assert not after.model.get_user_embeddings([code]).any()
    assert after.seen[code].nnz == 0
    expected, found = (one.model.get_user_embeddings(others) for one in (before, after))
    assert np.array_equal(expected, found)
    assert (before.seen[others] != after.seen[others]).nnz == 0
    assert after.users_per_item.tolist() == np.diff(after.seen.tocsc().indptr).tolist()
    expected_top, found_top = (one.model.recommend(others[:20], top_k=5) for one in (before, after))
    assert expected_top.item_indices.tolist() == found_top.item_indices.tolist()
    if text_ids:
        assert b"u1007" not in store.files.path(before.version).read_bytes()


def test_two_users_one_after_the_other_are_both_gone(store: ModelStore) -> None:
    version = live(store).version

    store.remove_forgotten(version, [1001])
    store.remove_forgotten(version, [1002])
    assert store.remove_forgotten(version, [1001, 1002]) == 0

    after = store.current()
    assert after.user_ids.codes([1001, 1002, 1003]).tolist() == [-1, -1, 3]
    assert after.revision == 2


def test_another_process_takes_up_the_rewritten_file_at_its_next_question(
    store: ModelStore, client: redis.Redis
) -> None:
    other = ModelStore(client, store.model_dir, n_threads=1)
    version = live(store).version
    assert 1001 in other.current().user_ids
    assert 1001 in other.get(version).user_ids

    store.remove_forgotten(version, [1001])

    assert 1001 not in other.current().user_ids
    assert 1001 not in other.get(version).user_ids


def test_hosts_that_share_no_folder_let_go_of_their_older_copy(client: redis.Redis, tmp_path: Path) -> None:
    archive = (tmp_path / "archive").as_uri()
    (tmp_path / "archive").mkdir()
    here, there = (ModelStore(client, tmp_path / name, 1, archive) for name in ("here", "there"))
    version = live(here, text_ids=True).version
    assert "u1001" in there.current().user_ids

    here.remove_forgotten(version, ["u1001"])

    assert "u1001" not in there.current().user_ids
    files = [path for path in tmp_path.rglob("*.safetensors") if b"u1001" in path.read_bytes()]
    assert files == []


def test_a_file_that_was_put_back_loses_everybody_who_was_forgotten(store: ModelStore, client: redis.Redis) -> None:
    version = live(store).version
    backup = store.files.path(version).read_bytes()
    Forgotten(client).add([1001, 1002])
    store.remove_forgotten(version, [1001])
    store.files.path(version).write_bytes(backup)

    store.remove_forgotten(version, [1002])

    assert store.current().user_ids.codes([1001, 1002]).tolist() == [-1, -1]


def test_a_file_without_a_record_keeps_nobody_who_was_forgotten(store: ModelStore) -> None:
    # given: a training that was killed between its file and its record
    live(store)
    lost = served_model(history(), store.trainings.begin("lost").version)
    store.files.write(lost)

    # when
    assert remove_from_unrecorded(store, [1001, "nobody"]) == 1

    # then: it stays, without them, and goes on with its training where that comes back
    kept = store.files.read(lost.version)
    assert 1001 not in kept.user_ids
    assert 1002 in kept.user_ids
    assert remove_from_unrecorded(store, [1001]) == 0
