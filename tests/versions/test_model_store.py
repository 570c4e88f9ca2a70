"""Versions: one step to go live, fences, roll back, prune, and a current file that cannot be read."""

from __future__ import annotations

import resource
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import redis

from timbral import keys
from timbral.data.id_index import IdIndex
from timbral.errors import ModelFileError, ModelNotFoundError, ModelStoreError
from timbral.models.nmf_model import NMFModel
from timbral.versions import trainings
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel

MATRIX = np.array([[5, 0, 3, 0], [0, 2, 0, 1], [4, 0, 0, 2]], dtype=np.float32)


def served(version: str, seed: int = 0) -> ServedModel:
    model = NMFModel(2, seed, 20, n_threads=1).fit(MATRIX)
    users, items = IdIndex([10, 20, 30]), IdIndex(["a", "b", "c", "d"])
    return ServedModel(version, model, users, items, np.array([2, 1, 1, 2]), model, {"version": version, "seed": seed})


@pytest.fixture
def store(client: redis.Redis, tmp_path: Path) -> ModelStore:
    return ModelStore(client, tmp_path / "models", n_threads=1)


def trained(store: ModelStore, task_id: str) -> str:
    training = store.trainings.begin(task_id)
    store.write(served(training.version))
    store.trainings.finish(task_id, training, {})
    return training.version


def damage(store: ModelStore, version: str) -> None:
    path = store.files.path(version)
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)


def test_a_redelivered_training_keeps_its_version_and_fence(store: ModelStore) -> None:
    first, again, other = (
        store.trainings.begin("task"),
        store.trainings.begin("task"),
        store.trainings.begin("another task"),
    )

    assert again == first
    assert other.fence == first.fence + 1
    assert other.version != first.version


def test_a_finished_training_that_is_delivered_again_gets_its_answer(store: ModelStore) -> None:
    training = store.trainings.begin("task")
    store.trainings.finish("task", training, {"promoted": True})

    assert store.trainings.begin("task").answer == {"promoted": True}


def test_a_training_that_ends_late_does_not_answer_for_another_under_its_id(store: ModelStore) -> None:
    late = store.trainings.begin("task")
    store.trainings.forget("task")  # the id is used again
    second = store.trainings.begin("task")

    store.trainings.finish("task", late, {"n": 1})

    assert store.trainings.begin("task") == second
    assert second.answer is None


def test_a_version_is_written_whole_and_read_back_with_its_original_ids(store: ModelStore) -> None:
    version = trained(store, "task")
    store.promote(version)

    live = store.current()

    assert live.version == version
    assert live.user_ids.ids([0, 1, 2]) == [10, 20, 30]
    assert live.item_ids.ids([3]) == ["d"]
    assert live.seen.toarray().tolist() == MATRIX.tolist()
    assert live.evaluated is not None
    assert not live.model.user_factors.flags.writeable, "mapped, so that a host has one copy"


def test_a_model_from_its_file_recommends_what_it_did_before_it_was_written(store: ModelStore) -> None:
    version = trained(store, "task")
    store.promote(version)
    users = np.zeros(100, dtype=np.int64)

    before, after = (one.recommend(users, top_k=3) for one in (served(version).model, store.current().model))

    assert store.current().model.item_index is not None
    assert np.array_equal(before.item_indices, after.item_indices)
    assert np.array_equal(before.scores, after.scores)


def test_an_older_training_never_replaces_a_newer_one(store: ModelStore) -> None:
    slow, fast = store.trainings.begin("slow").version, store.trainings.begin("fast").version
    for version in (fast, slow):
        store.write(served(version))

    assert store.promote(fast) == "live"
    assert store.promote(slow) == "stale"
    assert store.current_version() == fast


def test_a_training_that_outlives_its_redis_keeps_no_later_one_from_going_live(
    store: ModelStore, client: redis.Redis
) -> None:
    # given: some trainings, and one that is on its way when Redis loses everything
    for task_id in ("a", "b", "c"):
        trained(store, task_id)
    long = store.trainings.begin("long")
    client.flushdb()
    store.write(served(long.version))
    assert store.promote(long.version) == "live"

    # when
    later = trained(store, "later")

    # then
    assert store.promote(later) == "live"
    assert store.trainings.begin("next").fence == long.fence + 2


def test_going_back_by_hand_does_not_let_an_older_training_in(store: ModelStore) -> None:
    first, slow, third = (trained(store, task) for task in ("first", "slow", "third"))
    for version in (first, third):
        store.promote(version)

    assert store.roll_back() == first
    assert store.promote(slow) == "stale"
    assert store.current_version() == first
    assert store.promote(slow, force=True) == "live"
    assert store.promote(trained(store, "fourth")) == "live"


def test_a_training_that_is_delivered_again_does_not_undo_a_roll_back(store: ModelStore) -> None:
    first, second = trained(store, "first"), trained(store, "second")
    for version in (first, second):
        store.promote(version)
    store.roll_back()

    assert store.promote(store.trainings.begin("second").version) == "stale"

    assert store.current_version() == first


def test_rolling_back_twice_goes_further_back_and_ends_with_an_error(store: ModelStore) -> None:
    versions = [trained(store, f"task {number}") for number in range(3)]
    for version in versions:
        store.promote(version)

    assert [store.roll_back(), store.roll_back()] == [versions[1], versions[0]]
    with pytest.raises(ModelNotFoundError, match="roll back"):
        store.roll_back()
    assert store.current_version() == versions[0]


def test_a_version_that_nobody_wrote_cannot_go_live(store: ModelStore) -> None:
    with pytest.raises(ModelNotFoundError):
        store.promote("20260101T000000-99")
    with pytest.raises(ModelNotFoundError, match="not the name of a version"):
        store.files.path("../../etc/passwd")


def test_another_version_is_taken_up_without_a_restart_and_the_old_one_let_go(store: ModelStore) -> None:
    first, second = trained(store, "first"), trained(store, "second")
    store.promote(first)
    before = store.current()
    assert store.current() is before

    ModelStore(store.redis, store.model_dir).promote(second)

    assert store.current().version == second
    assert store._served is not before
    assert f"{first}.safetensors" in Path("/proc/self/maps").read_text()
    del before
    assert f"{first}.safetensors" not in Path("/proc/self/maps").read_text(), "the old file is still mapped"


def test_a_damaged_current_model_leaves_the_old_one_served(store: ModelStore) -> None:
    first, second = trained(store, "first"), trained(store, "second")
    store.promote(first)
    store.current()
    store.promote(second)
    damage(store, second)

    assert store.current().version == first
    assert ModelStore(store.redis, store.model_dir).current().version == first, "a worker that starts now"
    assert store.current_version() == second


def test_all_workers_serve_the_same_in_place_of_a_damaged_model(store: ModelStore) -> None:
    # given: an idle worker that has mapped an older one, and an experiment that was never live
    first, second = trained(store, "first"), trained(store, "second")
    store.promote(first)
    idle = ModelStore(store.redis, store.model_dir)
    idle.current()
    store.promote(second)
    store.current()
    trained(store, "experiment")
    damaged = trained(store, "damaged")
    store.promote(damaged)
    damage(store, damaged)

    served_by = [one.current().version for one in (store, idle, ModelStore(store.redis, store.model_dir))]

    assert served_by == [second] * 3


def test_a_damaged_only_model_is_an_error_that_names_the_file(store: ModelStore) -> None:
    version = trained(store, "only")
    store.promote(version)
    damage(store, version)

    with pytest.raises(ModelFileError, match=version):
        store.current()
    with pytest.raises(ModelFileError, match=version):
        store.promote(version, force=True)


def test_without_a_live_version_the_error_says_what_to_do(store: ModelStore) -> None:
    with pytest.raises(ModelNotFoundError, match="train_model"):
        store.current()


def test_a_folder_that_cannot_be_written_changes_nothing(store: ModelStore) -> None:
    first = trained(store, "first")
    store.promote(first)
    second = store.trainings.begin("second").version
    store.files.folder = store.files.folder / "file"
    store.model_dir.write_text("not a folder")

    with pytest.raises(ModelStoreError):
        store.write(served(second))

    assert store.versions() == [first]
    assert store.current_version() == first


def test_prune_keeps_the_newest_the_live_one_what_came_before_it_and_what_a_job_uses(
    store: ModelStore, client: redis.Redis
) -> None:
    versions = [trained(store, f"task {number}") for number in range(7)]
    store.promote(versions[1])
    store.promote(versions[2])
    client.hset(keys.job("j"), "model_version", versions[3])
    client.zadd(keys.JOBS_OPEN, {"j": 1})

    gone = store.prune(2)

    assert set(gone) == {versions[0], versions[4]}
    assert store.versions() == [versions[index] for index in (6, 5, 3, 2, 1)]
    assert {path.stem for path in store.model_dir.glob("*.safetensors")} == set(store.versions())
    assert not client.exists(keys.model_metadata(versions[0]))


def test_prune_leaves_what_a_training_is_about_to_put_live(store: ModelStore) -> None:
    store.promote(trained(store, "live"))
    ending = store.trainings.begin("ending")
    store.write(served(ending.version))
    trained(store, "experiment")

    gone = store.prune(1)

    assert gone == []
    assert store.promote(ending.version) == "live"


def test_what_a_killed_prune_has_left_the_next_one_removes(
    store: ModelStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: four versions that went live, and a prune that is killed behind its first step
    versions = [trained(store, task_id) for task_id in "abcd"]
    for version in versions:
        store.promote(version)
    with monkeypatch.context() as killed:
        killed.setattr(store.files, "remove", MagicMock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.prune(keep=1)

    # when
    store.prune(keep=1)

    # then
    left = set(store.versions())
    assert left == set(versions[2:])
    assert store.files.found() == left
    assert {key.decode() for key in client.keys("model:*:metadata")} == {keys.model_metadata(one) for one in left}


def test_a_training_that_never_ended_leaves_its_file_for_a_week(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: it was killed between its file and its record, and cancelled
    lost = store.trainings.begin("lost")
    store.files.write(served(lost.version))
    kept = trained(store, "kept")
    store.promote(kept)

    # when, then
    store.prune(keep=1)
    assert store.files.found() == {lost.version, kept}
    monkeypatch.setattr(trainings, "FORGET_S", -86_400)
    store.prune(keep=1)
    assert store.files.found() == {kept}


def test_one_version_is_removed_unless_it_is_needed(store: ModelStore, client: redis.Redis) -> None:
    old, before, live, in_use = (trained(store, task) for task in ("old", "before", "live", "in use"))
    store.promote(before)
    store.promote(live)
    client.hset(keys.job("j"), "model_version", in_use)
    client.zadd(keys.JOBS_OPEN, {"j": 1})

    removed = [store.remove(version) for version in (old, before, live, in_use)]

    assert removed == [True, False, False, False]
    assert store.versions() == [in_use, live, before]
    assert not store.files.path(old).exists()
    assert not client.exists(keys.model_metadata(old))
    with pytest.raises(ModelNotFoundError):
        store.remove(old)


def test_prune_counts_the_versions_that_were_live_apart_from_the_experiments(store: ModelStore) -> None:
    # given: one that served for long, a promotion that was rolled back, one that was not, and many experiments
    good, rolled_back, live = (trained(store, task) for task in ("good", "rolled back", "live"))
    store.promote(good)
    store.promote(rolled_back)
    store.roll_back()
    store.promote(live)
    experiments = [trained(store, f"experiment {number}") for number in range(4)]

    gone = store.prune(2)

    assert set(gone) == {rolled_back, *experiments[:2]}
    assert set(store.versions()) == {good, live, *experiments[2:]}


def test_the_list_says_which_version_is_live(store: ModelStore) -> None:
    first, second = trained(store, "first"), trained(store, "second")
    store.promote(first)

    assert [(record["version"], record["live"]) for record in store.list()] == [(second, False), (first, True)]
    assert store.show(first)["live"] is True
    with pytest.raises(ModelNotFoundError):
        store.show("20260101T000000-99")


def test_a_full_disk_leaves_everything_as_it_was(store: ModelStore) -> None:
    first = trained(store, "first")
    store.promote(first)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ModelStoreError, match="too large"):
            trained(store, "second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert store.versions() == [first]
    assert [path.name for path in store.model_dir.iterdir()] == [f"{first}.safetensors"]
    assert store.current().version == first
