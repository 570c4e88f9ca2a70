"""Data that Spark reads, puts into order and turns are those that one process reads, and give the same model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from here_cluster import Here

from timbral.data.dataset_file import DatasetFile
from timbral.data.interactions import Interactions
from timbral.data.interactions_reader import read_interactions
from timbral.data.read_options import ReadOptions
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask, solve
from timbral.errors import DataError, TrainingError
from timbral.models.fitting.warm_start import KnownFactors
from timbral.models.nmf_model import NMFModel
from timbral.spark_data import reading, sources
from timbral.spark_data.cluster import SparkCluster as SparkDataCluster
from timbral.spark_data.reading import Reading
from timbral.spark_data.source_rows import read_source
from timbral.spark_data.sources import file_sources
from timbral.spark_data.stored_plays import StoredPlays

OPTIONS = ReadOptions()


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS_PER_SOURCE", 700)
    monkeypatch.setattr(reading, "ROWS_PER_BLOCK", 1500)


def run_on(store: BlockStore) -> Callable[[Sequence[BlockTask]], Iterable[Answer]]:
    return lambda tasks: [solve(task, store, 1) for task in tasks]


def read(
    path: Path,
    folder: Path,
    options: ReadOptions = OPTIONS,
    *,
    cluster: Any = None,
    most_sampled: int = 10**9,
    forgotten: Sequence[Any] = (),
    on_step: Callable[[str], None] = lambda step: None,
    **limits: float | None,
) -> StoredPlays:
    store = BlockStore(folder, "data", folder / "cache")
    table, found = file_sources(DatasetFile.of(path), options)
    made = Reading(cluster or Here(), store, run_on(store), 3, most_sampled, on_step=on_step)
    return made.read(str(path), table, found, forgotten=lambda ids: np.sort(ids.codes(list(forgotten))), **limits)


def read_here(path: Path, options: ReadOptions = OPTIONS, forgotten: Sequence[Any] = (), **limits: Any) -> Interactions:
    data = read_interactions(DatasetFile.of(path), options)
    data = data.with_play_thresholds(limits.get("min_plays"), limits.get("max_plays"))
    codes = data.user_ids.codes(list(forgotten))
    return data.without_users(codes[codes >= 0])


def plays(n: int = 4000, *, ids: str = "int", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 1300, n), np.minimum(rng.geometric(0.01, n), 700)
    frame = pd.DataFrame({"user_id": users * 7, "item_id": items, "plays": rng.integers(0, 5, n).astype(float)})
    frame["at"] = rng.integers(1_600_000_000, 1_700_000_000, n)
    if ids == "str":
        frame["user_id"] = "u" + frame["user_id"].astype(str)
        frame["item_id"] = "Größe " + frame["item_id"].astype(str)
    return frame


def write(folder: Path, frame: pd.DataFrame, n_files: int = 3) -> Path:
    path = folder / "plays"
    path.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        frame.iloc[rows].to_parquet(path / f"part-{number}.parquet", index=False, row_group_size=300)
    return path


def assert_same(mine: Interactions, theirs: Interactions) -> None:
    assert mine.user_ids == theirs.user_ids
    assert mine.item_ids == theirs.item_ids
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(mine.matrix, name), getattr(theirs.matrix, name), name)
    assert (mine.times is None) == (theirs.times is None)
    np.testing.assert_array_equal(mine.times, theirs.times)
    assert mine.report() == theirs.report()
    assert (mine.zeros is None) == (theirs.zeros is None)
    if mine.zeros is not None and theirs.zeros is not None:
        assert (mine.zeros != theirs.zeros).nnz == 0


@pytest.mark.parametrize(
    ("ids", "options", "limits"),
    [
        ("int", OPTIONS, {}),
        ("str", ReadOptions(time_col="at", repeats="last"), {}),
        ("int", ReadOptions(time_col="at", repeats="mean"), {"min_plays": 2.0, "max_plays": 3.0}),
        ("str", ReadOptions(value_col=None, repeats="max"), {"forgotten": ["u7", "u14", "nobody"]}),
        ("int", OPTIONS, {"min_plays": 2.0, "forgotten": [7, 14, 21]}),
    ],
)
def test_the_same_rows_ids_and_times(tmp_path: Path, ids: str, options: ReadOptions, limits: dict[str, Any]) -> None:
    path = write(tmp_path, plays(ids=ids))

    stored = read(path, tmp_path / "store", options, **limits)

    assert_same(read_here(path, options, **limits), stored.plays)


@pytest.fixture(params=["here", "spark"])
def cluster(request: pytest.FixtureRequest) -> Any:
    return Here() if request.param == "here" else request.getfixturevalue("spark")


def test_the_same_bits_of_a_model_with_executors_killed(tmp_path: Path, cluster: Any) -> None:
    # given
    path = write(tmp_path, plays(12_000))
    options = ReadOptions(time_col="at")
    model = partial(NMFModel, 5, 0, 4, 0.0, n_threads=1)
    killed: list[int] = []

    def kill(step: str) -> None:
        if not isinstance(cluster, Here) and step.startswith(("bringing", "turning")):
            killed.extend(cluster.executors()[:1])
            os.kill(killed[-1], signal.SIGKILL)

    # when
    asked = cluster if isinstance(cluster, Here) else SparkDataCluster(cluster.url)
    stored = read(path, tmp_path / "store", options, cluster=asked, on_step=kill)
    theirs = model().fit(stored, halves_of=stored.halves_of)
    here = read_here(path, options)
    mine = model().fit(here.matrix, times=here.times)

    # then
    assert len(killed) == (0 if isinstance(cluster, Here) else 2)
    assert mine.chosen_ == theirs.chosen_
    mine_arrays, mine_texts = mine.tensors()
    theirs_arrays, theirs_texts = theirs.tensors()
    assert mine_texts == theirs_texts
    for name, array in mine_arrays.items():
        np.testing.assert_array_equal(array, theirs_arrays[name], name)
    assert mine_arrays["neighbor_items"].size


def test_of_more_than_is_sampled_some_users_are_chosen_on_and_all_are_trained(tmp_path: Path) -> None:
    path = write(tmp_path, plays(12_000))

    stored = read(path, tmp_path / "store", most_sampled=6_000)
    model = NMFModel(5, 0, 4, 0.0, n_threads=1).fit(stored, halves_of=stored.halves_of)

    assert 5_000 < stored.sampled.matrix.nnz <= 6_000
    rows = stored.plays.matrix[stored.sample_users]
    assert (rows != stored.sampled.matrix).nnz == 0
    assert stored.sampled.user_ids.ids([0, 1]) == stored.plays.user_ids.ids(stored.sample_users[:2])
    assert model.n_interactions == stored.plays.matrix.nnz
    assert (model._users().sum(axis=1) > 0).mean() > 0.9


BROKEN: list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame], ReadOptions]] = [
    ("no column", lambda frame: frame, ReadOptions(item_col="track")),
    ("a negative value", lambda frame: frame.assign(plays=frame["plays"].where(frame.index != 2345, -1.0)), OPTIONS),
    ("no value", lambda frame: frame.assign(plays=frame["plays"].where(frame.index != 2345)), OPTIONS),
    ("no id", lambda frame: frame.assign(user_id=frame["user_id"].astype("Int64").where(frame.index != 17)), OPTIONS),
    (
        "an odd id among ints",
        lambda frame: frame.assign(user_id=frame["user_id"].astype(str).where(frame.index != 3999, "NULL")),
        OPTIONS,
    ),
    ("zeros", lambda frame: frame.assign(plays=0.0), OPTIONS),
    ("no rows", lambda frame: frame.iloc[:0], OPTIONS),
    ("no time", lambda frame: frame.assign(at="yesterday"), ReadOptions(time_col="at")),
]


@pytest.mark.parametrize(("broken", "options"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
def test_what_is_wrong_is_said_as_where_one_process_reads(
    tmp_path: Path, broken: Callable[[pd.DataFrame], pd.DataFrame], options: ReadOptions
) -> None:
    path = write(tmp_path, broken(plays()))

    with pytest.raises(DataError) as mine:
        read_here(path, options)
    with pytest.raises(DataError) as theirs:
        read(path, tmp_path / "store", options)

    assert str(mine.value) == str(theirs.value)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    frame = plays().astype({"user_id": str})
    frame.loc[[3, 1700, 3900], "user_id"] = ["NULL", " 7", None]
    frame.loc[9, "plays"] = None
    path = write(tmp_path, frame)
    options = ReadOptions(on_missing="drop")

    stored = read(path, tmp_path / "store", options)

    assert stored.plays.report()["rows_dropped"] == 4
    assert_same(read_here(path, options), stored.plays)


def test_times_of_two_kinds_are_of_one_unit(tmp_path: Path) -> None:
    path = write(tmp_path, plays(), 1)
    frame = plays(seed=1)
    frame.assign(at=frame["at"] + 0.5).to_parquet(path / "part-1.parquet", index=False)
    options = ReadOptions(time_col="at")

    assert_same(read_here(path, options), read(path, tmp_path / "store", options).plays)


def test_a_file_that_the_executors_do_not_see_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, plays())
    table, found = file_sources(DatasetFile.of(path), OPTIONS)
    (path / "part-1.parquet").unlink()
    store = BlockStore(tmp_path / "store", "data")

    with pytest.raises(DataError, match=r"part-1\.parquet: the trainer sees it, and Spark's executors do not"):
        Reading(Here(), store, run_on(store), 3, 10**9).read("plays", table, found)


def test_a_warm_start_takes_known_factors_and_the_first_sweep_folds_the_rest_in(tmp_path: Path) -> None:
    # given: a model that has not seen a few of the users
    stored = read(write(tmp_path, plays(12_000)), tmp_path / "store")
    asked = partial(NMFModel, 5, 0, regularization=0.3, n_neighbors=0, n_threads=1)
    cold = asked(max_iter=12, tol=0.0).fit(stored.plays.matrix)
    knows_user = np.arange(cold.n_users) % 50 > 0
    known = KnownFactors(cold._users(), cold._items(), knows_user, np.ones(cold.n_items, dtype=bool))

    # when
    warm = asked(max_iter=2, tol=0.0).fit(stored, known=known, halves_of=stored.halves_of)

    # then
    assert warm.training_history[-1] < 1.001 * cold.training_history[-1]
    assert warm._users()[~knows_user].any(axis=1).mean() > 0.9


@pytest.mark.parametrize("named", [["1", "2", "10"], ["1", "2", "b"], ["1", "2.5", "10"]])
def test_ids_that_are_names_of_folders_are_those_of_one_process(tmp_path: Path, named: list[str]) -> None:
    for number, name in enumerate(named):
        (tmp_path / "plays" / f"item_id={name}").mkdir(parents=True)
        frame = plays(200, seed=number).drop(columns="item_id")
        frame.to_parquet(tmp_path / "plays" / f"item_id={name}" / "0.parquet", index=False)

    def outcome(reads: Callable[[], Interactions]) -> Any:
        try:
            return reads()
        except DataError as error:
            return str(error)

    mine = outcome(lambda: read_here(tmp_path / "plays"))
    theirs = outcome(lambda: read(tmp_path / "plays", tmp_path / "store").plays)

    if isinstance(mine, str):
        assert mine == theirs
    else:
        assert_same(mine, theirs)


def test_more_plays_than_a_model_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ENTRIES", 100)

    with pytest.raises(DataError, match=r"plays: has 2,\d+ plays of different items; a model's file holds 100"):
        read(write(tmp_path, plays(3000)), tmp_path / "store")


def test_a_store_that_the_executors_do_not_see_is_named_and_so_is_the_setting(tmp_path: Path) -> None:
    # given: what was sent to a host that has another disk there
    _, found = file_sources(DatasetFile.of(write(tmp_path, plays(10))), OPTIONS)
    store = BlockStore(tmp_path / "elsewhere", "data")

    with pytest.raises(TrainingError, match=r"do not see the store .*elsewhere/data: TRAIN_STORE_URI must be a folder"):
        read_source(store, {"number": 0, "source": found[0]})
