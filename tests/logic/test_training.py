"""A training: what it writes and answers, and that what fails or is stopped changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from taste import history, write_history

from timbral.errors import DataError, DatasetNotFoundError, JobCancelledError
from timbral.history.archive import PlayArchive
from timbral.history.interactions import TrainedRows
from timbral.history.table import HistoryTable
from timbral.logic import training
from timbral.logic.overlay import Overlay
from timbral.messages import ANSWERS, Play, TrainModel
from timbral.versions.model_store import ModelStore
from timbral.versions.trainings import Trainings

Train = Callable[..., dict[str, Any]]


def test_the_first_model_goes_live_with_metrics_above_popularity(train: Train, store: ModelStore) -> None:
    answer = train("task")

    assert set(answer) == set(ANSWERS["train_model"])
    assert (answer["promoted"], answer["reason"]) == (True, "the first model")
    assert answer["metrics"]["recall@20"] > 2 * answer["baseline"]["recall@20"]
    live = store.current()
    assert live.version == answer["model_version"]
    assert live.model.n_interactions == 2000, "the version that is live saw the held-out rows too"
    assert live.record["metrics"] == answer["metrics"]
    assert int(live.users_per_item.sum()) == 2000


def test_a_training_that_is_delivered_again_after_its_end_answers_without_training(train: Train) -> None:
    first = train("task")
    steps: list[int] = []

    again = train("task", progress=lambda *step: steps.append(1))

    assert again == first
    assert steps == []


@pytest.mark.parametrize("lost_at", ["promote", "drop_trained", "prune", "finish"])
def test_a_training_that_is_cut_off_after_its_version_was_written_goes_on_with_that_version(
    train: Train,
    store: ModelStore,
    client: redis.Redis,
    table: HistoryTable,
    monkeypatch: pytest.MonkeyPatch,
    lost_at: str,
) -> None:
    # given: killed there, with the version's file mapped by others; and one more play before it is delivered again
    overlay = Overlay(client)
    overlay.add_plays("t", [Play(user_id=user, item_id=item, plays=n) for user, item, n in history(40)])
    PlayArchive(client, table).run()
    owner = {"drop_trained": Overlay, "finish": Trainings}.get(lost_at, ModelStore)
    with monkeypatch.context() as killed:
        killed.setattr(owner, lost_at, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train("task", dataset=None)
    (version,) = store.versions()
    written = store.files.path(version).stat().st_ino
    overlay.add_plays("u", [Play(user_id=1000, item_id=987)])
    PlayArchive(client, table).run()

    # when
    answer = train("task", dataset=None)

    # then: the same file, and the play that it does not know is still to be counted
    assert (answer["model_version"], answer["promoted"]) == (version, True)
    assert set(answer) == set(ANSWERS["train_model"])
    assert store.files.path(version).stat().st_ino == written
    assert overlay.load([1000], store.current()).plays == {0: {987: 1.0}}
    assert not any((store.model_dir / "checkpoints").glob("*"))
    assert train("task", dataset=None) == answer


def test_of_two_deliveries_of_a_training_at_a_time_the_later_to_write_takes_the_others_version(
    train: Train, store: ModelStore
) -> None:
    def stands_still(done: int, total: int, text: str) -> None:
        if text == "writing the model" and not other:
            other.update(train("task", random_state=2))
            written.append(store.files.path(other["model_version"]).stat().st_ino)

    other: dict[str, Any] = {}
    written: list[int] = []
    answer = train("task", progress=stands_still)

    assert answer["loss"] == other["loss"]
    assert [store.files.path(answer["model_version"]).stat().st_ino] == written


def test_a_history_that_loses_the_files_that_are_read_is_read_again(
    train: Train, store: ModelStore, client: redis.Redis, table: HistoryTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: somebody is forgotten after the training has settled which version it reads
    Overlay(client).add_plays("t", [Play(user_id=user, item_id=item, plays=n) for user, item, n in history(40)])
    PlayArchive(client, table).run()
    read = TrainedRows.read
    erased: list[int] = []

    def meanwhile(rows: TrainedRows, *arguments: Any, **options: Any) -> Any:
        if not erased:
            erased.append(table.delete_user(history(40)[0][0]))
        return read(rows, *arguments, **options)

    monkeypatch.setattr(TrainedRows, "read", meanwhile)

    answer = train("task", dataset=None)

    assert erased[0] > 0
    assert answer["n_users"] == 39


def test_a_warm_start_goes_on_from_the_live_model_and_takes_fewer_sweeps(
    train: Train, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a live model, and a data set that has some more users and an item that it does not know
    live = train("live")
    write_history(tmp_path / "more.csv", [*history(206), (1000, 999, 3), (1001, 999, 2)])
    cold = train("cold", dataset="more.csv", promote="never")
    starts: list[Any] = []
    fit = training.ModelTrainer.train_nmf_model
    monkeypatch.setattr(
        training.ModelTrainer,
        "train_nmf_model",
        lambda *args, **options: starts.append(options["known"]) or fit(*args, **options),
    )

    # when
    warm = train("warm", dataset="more.csv", promote="never", warm_start=True)

    # then
    assert (live["started_from"], cold["started_from"], warm["started_from"]) == (None, None, live["model_version"])
    assert warm["iterations"] < cold["iterations"]
    assert warm["loss"] <= cold["loss"] * 1.001
    assert starts[0] is None, "what is measured has not seen, through the live model, what is held out of it"
    assert (~starts[1].knows_user).sum() == 6
    assert (~starts[1].knows_item).sum() == 1
    assert warm["metrics"] == cold["metrics"]


def test_a_warm_start_without_a_live_model_that_fits_is_a_cold_one(train: Train) -> None:
    first = train("first", warm_start=True)
    wider = train("wider", warm_start=True, n_components=9, promote="never")

    assert (first["started_from"], wider["started_from"]) == (None, None)


def test_a_training_that_is_cut_off_goes_on_and_one_that_ends_leaves_nothing(
    train: Train, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: it is killed in its last sweeps, after a checkpoint of each
    monkeypatch.setattr(training, "settings", training.settings.model_copy(update={"CHECKPOINT_EVERY_S": 0.0}))
    uncut = train("uncut", promote="never")
    folder = store.model_dir / "checkpoints"
    assert list(folder.iterdir()) == []
    texts: list[str] = []

    def killed(done: int, total: int, text: str) -> None:
        texts.append(text)
        if text.startswith("training: sweep 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("task", progress=killed, promote="never")
    assert len(list(folder.iterdir())) == 2

    # when
    texts.clear()
    answer = train("task", progress=lambda done, total, text: texts.append(text), promote="never")

    # then
    assert next(text for text in texts if "sweep" in text).startswith("training: sweep 4")
    assert (answer["loss"], answer["metrics"]) == (uncut["loss"], uncut["metrics"])
    users = [store.get(one["model_version"]).model.user_factors for one in (answer, uncut)]
    np.testing.assert_array_equal(*users)
    assert list(folder.iterdir()) == []

    # and one that fails or is cancelled takes its own along, too
    def cancelled(done: int, total: int, text: str) -> None:
        if text.startswith("training: sweep 4"):
            raise JobCancelledError("another", "it was cancelled")

    with pytest.raises(JobCancelledError):
        train("another", progress=cancelled, promote="never")
    assert list(folder.iterdir()) == []


def test_a_version_records_what_it_was_made_with_and_of(train: Train, store: ModelStore, tmp_path: Path) -> None:
    asked = {"regularization": 0.4, "unobserved_target": 0.1, "confidence": 0.5, "popularity_exponent": 0.2}

    record = store.show(train("task", **asked)["model_version"])
    write_history(tmp_path / "plays.csv", history(200))
    same = store.show(train("same data, another file")["model_version"])
    write_history(tmp_path / "plays.csv", history(200, seed=5))
    other = store.show(train("other data", promote="always")["model_version"])

    assert {name: record["arguments"][name] for name in asked} == asked
    assert {name: record["parameters"][name] for name in asked} == asked
    assert record["chosen"]["regularization"] == 0.4
    assert same["chosen"]["unobserved_weight"] > 0 == (same["arguments"]["unobserved_weight"] or 0)
    assert record["loss_per_iteration"][-1] == record["loss"]
    assert len(record["loss_per_iteration"]) == record["iterations"]
    assert record["dataset_digest"] == same["dataset_digest"] != other["dataset_digest"]
    assert 0 < record["errors"]["ndcg@20"] < 0.1
    assert {"coverage@20", "novelty@20", "diversity@20"} <= set(record["metrics"])


def test_progress_counts_up_to_its_total(train: Train) -> None:
    steps: list[tuple[int, int, str]] = []
    train("task", progress=lambda *step: steps.append(step), max_iter=5, tol=0)

    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert steps[-1][0] == steps[-1][1] == 10
    assert any(text.startswith("measuring: sweep 5") for _, _, text in steps)
    assert any(text.startswith("training: sweep 5") for _, _, text in steps)


def test_a_training_that_is_stopped_leaves_nothing_behind(train: Train, store: ModelStore) -> None:
    first = train("first")
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise JobCancelledError("task", "it was cancelled")

    with pytest.raises(JobCancelledError):
        train("task", check=check, progress=lambda done, total, text: stop.set() if "training" in text else None)

    assert store.versions() == [first["model_version"]]
    assert len(list(store.model_dir.iterdir())) == 1
    assert store.current_version() == first["model_version"]


def test_bad_input_changes_nothing(train: Train, store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("user_id,item_id,rating\n1,2,-3\n")
    with pytest.raises(DataError, match="rating"):
        train("a", dataset="bad.csv")
    with pytest.raises(DatasetNotFoundError):
        train("b", dataset="nothing.csv")

    assert store.versions() == []
    assert store.current_version() is None


def test_an_empty_history_is_an_error_that_says_what_to_do(
    train: Train, store: ModelStore, table: HistoryTable
) -> None:
    with pytest.raises(DataError, match="record_plays"):
        train("task", dataset=None)

    assert store.versions() == []


def test_plays_go_when_a_model_that_was_trained_on_them_is_live(
    train: Train, client: redis.Redis, table: HistoryTable
) -> None:
    overlay = Overlay(client)
    overlay.add_plays("t", [Play(user_id=user, item_id=item, plays=n) for user, item, n in history(40)])
    PlayArchive(client, table).run()
    overlay.add_plays("u", [Play(user_id=1000, item_id=987)])

    train("file", promote="always")
    train("never", dataset=None, promote="never")
    assert len(overlay.users()) == 40, "neither the file nor a model that is not live has them"
    train("live", dataset=None, promote="always")

    assert overlay.load([1000, 1001]).plays == {0: {987: 1.0}}
    assert overlay.users() == [1000]


def test_a_version_of_the_history_gives_the_same_model_to_the_bit(
    train: Train, store: ModelStore, client: redis.Redis, table: HistoryTable
) -> None:
    for number in range(30):
        rows = [Play(user_id=user, item_id=item, plays=n / 7) for user, item, n in history(40, 3, seed=number)]
        Overlay(client).add_plays(f"t{number}", rows)
        PlayArchive(client, table).run()
    first = train("first", dataset=None, promote="never", half_life_days=10)
    version = store.show(first["model_version"])["history"]["version"]
    Overlay(client).add_plays("later", [Play(user_id=1000, item_id=987)])
    PlayArchive(client, table).run()
    table.compact()

    again = train("again", dataset=None, promote="never", half_life_days=10, history_version=version)

    one, other = (store.get(answer["model_version"]) for answer in (first, again))
    for name, tensor in one.model.tensors()[0].items():
        assert tensor.tobytes() == other.model.tensors()[0][name].tobytes(), name


def test_old_plays_count_less_in_a_training_with_a_half_life(
    train: Train, store: ModelStore, client: redis.Redis, table: HistoryTable
) -> None:
    now = datetime.now(UTC)
    rows = [Play(user_id=u, item_id=i, plays=8, at=now - timedelta(days=20 * (i % 2))) for u, i, _ in history(40)]
    Overlay(client).add_plays("t", rows)
    PlayArchive(client, table).run()

    answer = train("task", dataset=None, half_life_days=10)

    served = store.get(answer["model_version"])
    items = np.array(served.item_ids.ids(served.seen.indices))
    assert np.allclose(served.seen.data, np.where(items % 2, 2.0, 8.0), rtol=1e-5)
    assert served.record["history"]["half_life_days"] == 10


def test_the_newest_rows_are_held_out_where_there_are_times(train: Train, tmp_path: Path) -> None:
    rows = [f"{user},{item},{plays},{1_700_000_000 + n}" for n, (user, item, plays) in enumerate(history(200))]
    (tmp_path / "timed.csv").write_text("\n".join(["user_id,item_id,rating,at", *rows]))

    answer = train("task", dataset="timed.csv", time_col="at")

    assert answer["metrics"]["n_users"] == 200


def test_old_versions_go(train: Train, store: ModelStore) -> None:
    for number in range(6):
        train(f"task {number}", max_iter=2, promote="always")

    assert len(store.versions()) == 3
    assert len(list(store.model_dir.glob("*.safetensors"))) == 3


def test_a_changed_data_set_is_another_request(train: Train, tmp_path: Path) -> None:
    message = TrainModel(dataset="plays.csv")
    before = training.fingerprint(message)
    assert training.fingerprint(message) == before

    write_history(tmp_path / "plays.csv", history(201))

    assert training.fingerprint(message) != before


def test_the_answer_and_the_record_say_what_was_read(train: Train, store: ModelStore, tmp_path: Path) -> None:
    rows = (tmp_path / "plays.csv").read_text().splitlines()[1:]
    (tmp_path / "log.dat").write_text(
        "userID\tartist_id\tplayCount\n" + "".join(row.replace(",", "\t") + "\n" for row in rows)
    )
    told: list[str] = []

    answer = train("task", dataset="log.dat", progress=lambda done, total, text: told.append(text))

    assert (answer["user_id_kind"], answer["item_id_kind"], answer["value_col"]) == ("int", "int", "playCount")
    found = answer["data"]
    assert (found["rows"], found["rows_dropped"], found["separator"]) == (len(rows), 0, "\t")
    assert (found["user_col"], found["item_col"]) == ("userID", "artist_id")
    assert store.get(answer["model_version"]).record["data"] == found
    assert any(text.startswith(f"data: {len(rows):,} rows") and "playCount" in text for text in told)


def test_rows_that_lack_an_id_are_left_out_where_the_message_asks(train: Train, tmp_path: Path) -> None:
    with (tmp_path / "plays.csv").open("a") as file:
        file.write("NULL,301,2\n")

    with pytest.raises(DataError, match=r"'NULL' stands for a missing id.*on_missing"):
        train("refused")
    answer = train("dropped", on_missing="drop")

    assert answer["data"]["rows_dropped"] == 1
    assert answer["user_id_kind"] == "int"


def test_a_folder_is_a_data_set_and_a_change_in_it_another_request(train: Train, tmp_path: Path) -> None:
    rows = (tmp_path / "plays.csv").read_text().splitlines()
    (tmp_path / "plays").mkdir()
    for at in (0, 1):
        (tmp_path / "plays" / f"part-{at}.csv").write_text("\n".join([rows[0], *rows[1 + at :: 2]]) + "\n")
    before = training.fingerprint(TrainModel(dataset="plays"))

    answer = train("task", dataset="plays")
    with (tmp_path / "plays" / "part-1.csv").open("a") as file:
        file.write("1,301,2\n")

    assert answer["data"]["rows"] == len(rows) - 1
    assert training.fingerprint(TrainModel(dataset="plays")) != before
