"""Trainings whose store is on S3: an S3 server of the test's own, and hosts that share nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from here_cluster import Here
from s3_server import S3
from scipy import sparse

from timbral.config.settings import Settings
from timbral.data.dataset_file import DatasetFile
from timbral.data.interactions_reader import read_interactions
from timbral.data.read_options import ReadOptions
from timbral.engines import remote_store
from timbral.engines.block_task import Answer, BlockTask, solve
from timbral.engines.checkpoint_files import CheckpointFiles, JobCheckpoints, remove_orphans
from timbral.engines.remote_store import RemoteStore
from timbral.engines.stored_halves import StoredHalves
from timbral.errors import SettingsError
from timbral.models.nmf_model import NMFModel
from timbral.spark_data.reading import Reading
from timbral.spark_data.sources import file_sources
from timbral.versions.model_archive import ModelArchive, folder_below

PLAYS = sparse.random(2600, 1300, 0.01, "csr", np.float32, np.random.default_rng(0))
URI = "s3://models/training"


@pytest.fixture(autouse=True)
def _of_this_server(s3: S3) -> None:
    remote_store._archive.cache_clear()


def model() -> NMFModel:
    return NMFModel(7, 0, 4, 0.0, regularization=0.3, n_neighbors=0, n_threads=1)


def objects(s3: S3) -> list[str]:
    """Those with content: pyarrow marks folders by empty ones."""
    return [name for name in s3.names("models") if not name.endswith("/")]


def by_two_hosts(folder: Path, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
    """Each of them fetches from S3 what it has not."""
    for task in tasks:
        yield solve(task, RemoteStore(URI, task.training, folder / f"host{task.number % 2}"), 1)


def test_data_that_spark_reads_are_in_the_store_alone_and_two_hosts_train_on_them(s3: S3, tmp_path: Path) -> None:
    # given: a host that reads what the trainer's has not in its cache, and is one of two that train
    frame = pd.DataFrame({"user_id": np.arange(9000) % 1100, "item_id": np.arange(9000) ** 2 % 601, "plays": 1.0})
    frame.to_parquet(tmp_path / "plays.parquet", row_group_size=1000)
    table, sources = file_sources(DatasetFile.of(tmp_path / "plays.parquet"), ReadOptions())
    store = RemoteStore(URI, "training", tmp_path / "trainer")

    def on_another_host(do: Any) -> Any:
        return partial(do.func, RemoteStore(URI, "training", tmp_path / "host0"), *do.args[1:])

    # when
    reading = Reading(Here(on_another_host), store, partial(by_two_hosts, tmp_path), 2, 10**9)
    stored = reading.read("plays", table, sources)
    theirs = model().fit(stored, halves_of=stored.halves_of)

    # then
    mine = model().fit(read_interactions(DatasetFile.of(tmp_path / "plays.parquet"), ReadOptions()).matrix)
    np.testing.assert_array_equal(mine._users(), theirs._users())
    np.testing.assert_array_equal(mine._items(), theirs._items())
    store.close()
    assert objects(s3) == []


def test_gives_the_bits_of_one_process_and_leaves_nothing(s3: S3, tmp_path: Path) -> None:
    store = RemoteStore(URI, "training", tmp_path / "trainer")
    run = partial(by_two_hosts, tmp_path)

    theirs = model().fit(PLAYS, halves_of=lambda problem, _threads: StoredHalves(problem, store, run, 4))

    mine = model().fit(PLAYS)
    np.testing.assert_array_equal(mine._users(), theirs._users())
    np.testing.assert_array_equal(mine._items(), theirs._items())
    assert store.exists()
    assert RemoteStore(URI, "training", tmp_path / "host0").exists()
    kept = {path.name for path in (tmp_path / "host0" / "training").glob("half*.fixed")}
    assert kept <= {"half7.fixed", "half8.fixed"}, "what is done with goes"
    store.close()
    assert not store.exists()
    assert objects(s3) == []
    assert not (tmp_path / "trainer" / "training").exists()


def test_a_block_of_a_training_that_has_ended_is_an_error_and_brings_nothing_back(s3: S3, tmp_path: Path) -> None:
    store = RemoteStore(URI, "training", tmp_path)

    assert not store.exists()
    with pytest.raises(FileNotFoundError, match="half1"):
        store.get("half1.fixed")


def test_a_host_goes_on_with_what_another_has_reached(s3: S3, tmp_path: Path) -> None:
    # given: a fit that was cut off on one host
    def files(host: str) -> CheckpointFiles:
        archive = ModelArchive(f"{URI}/checkpoints")
        return JobCheckpoints(tmp_path / host, "job", 0.0, archive).of_fit({}, [PLAYS.data])

    class CutOffError(Exception): ...

    def cut_off(iteration: int, max_iter: int, loss: float) -> None:
        if iteration == 3:
            raise CutOffError

    with pytest.raises(CutOffError):
        model().fit(PLAYS, cut_off, checkpoints=files("one"))

    # when
    sweeps: list[int] = []
    theirs = model().fit(PLAYS, lambda sweep, *_: sweeps.append(sweep), checkpoints=files("another"))

    # then
    assert sweeps == [3, 4]
    np.testing.assert_array_equal(model().fit(PLAYS)._users(), theirs._users())
    assert len(objects(s3)) == 1, "the newest alone is kept"
    assert remove_orphans(tmp_path / "third", -1.0, ModelArchive(f"{URI}/checkpoints")) == 1
    assert objects(s3) == []


def test_the_options_of_a_uri_stay_behind_it(s3: S3, tmp_path: Path) -> None:
    address = s3.environment["AWS_ENDPOINT_URL"].removeprefix("http://")
    uri = folder_below(f"s3://models/training?endpoint_override={address}&scheme=http", "blocks")
    store = RemoteStore(uri, "one", tmp_path / "here")
    store.open()
    store.put("array", np.arange(3))

    np.testing.assert_array_equal(RemoteStore(uri, "one", tmp_path / "there").get("array"), np.arange(3))
    assert objects(s3) == ["training/blocks/one/array", "training/blocks/one/open"]


def test_it_needs_a_folder_to_map_from(tmp_path: Path) -> None:
    with pytest.raises((SettingsError, ValueError), match="needs TRAIN_CACHE_DIR"):
        Settings(TRAIN_STORE_URI=URI)
    found = Settings(TRAIN_STORE_URI=URI, TRAIN_CACHE_DIR=tmp_path)
    assert found.train_store == tmp_path
    with pytest.raises((SettingsError, ValueError), match="an s3:// URI"):
        Settings(TRAIN_STORE_URI="gs://models")
