"""What the fleet has done on Spark: a training, and everybody's lists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fleet_fixtures import Fleet
from taste import history, write_history

import producers
from timbral.errors import MessageError, ParameterError
from timbral.models.file import model_file
from timbral.versions.served_model import ServedModel
from tools.spark_cluster import SparkCluster

DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def data(fleet: Fleet) -> Iterator[Path]:
    producers.connect(fleet.server.url)
    yield write_history(fleet.data_dir / "plays.csv", history())
    producers.connect()


def lists(fleet: Fleet) -> dict[bytes, bytes]:
    with fleet.server.client() as client:
        names = sorted(client.scan_iter("recommendations:user:*"))
        found = dict(zip(names, client.mget(names), strict=True))
        client.delete(*names)
    return found


def test_a_training_and_lists_on_spark_are_those_of_one_process(fleet: Fleet, spark: SparkCluster, data: Path) -> None:
    # given
    (worker,) = fleet.start(environment={"TRAIN_ENGINE_URL": spark.url, "CHUNK_SIZE": "32", "TRAIN_BLOCKS": "4"})
    asked = {"promote": "always", "max_iter": 3, "holdout": 0}

    # when
    versions = [
        producers.enqueue_train_model("plays.csv", engine=engine, **asked).wait(200)["model_version"]
        for engine in ("local", "spark")
    ]
    mine, theirs = (ServedModel.read(fleet.model_dir / f"{one}.safetensors", one).model for one in versions)
    done = producers.enqueue_compute_recommendations(top_k=5, engine="spark").wait(200)
    on_spark = lists(fleet)
    producers.enqueue_compute_recommendations(top_k=5).wait(100)

    # then
    np.testing.assert_array_equal(mine._users(), theirs._users())
    np.testing.assert_array_equal(mine._items(), theirs._items())
    assert worker.log.count("trains on others, too") == 1
    assert done["users_done"] == len(on_spark) == 120
    assert on_spark == lists(fleet)
    assert list((fleet.model_dir / "blocks").iterdir()) == []


def test_parquet_and_the_history_are_read_on_spark_for_the_same_model(
    fleet: Fleet, spark: SparkCluster, data: Path
) -> None:
    # given
    frame = pd.read_csv(data)
    frame.to_parquet(fleet.data_dir / "plays.parquet", row_group_size=500)
    (worker,) = fleet.start(environment={"TRAIN_ENGINE_URL": spark.url, "TRAIN_BLOCKS": "4"})
    producers.record_plays(
        {"user_id": int(user), "item_id": int(item), "plays": float(n), "at": DAY + timedelta(hours=int(item))}
        for user, item, n in frame.to_numpy()
    )

    # when
    asked = {"promote": "always", "max_iter": 3}
    answers = [
        producers.enqueue_train_model(dataset, engine=engine, **asked).wait(300)
        for dataset in ("plays.parquet", None)
        for engine in ("local", "spark")
    ]

    # then
    assert [one["read_by"] for one in answers] == ["trainer", "spark"] * 2
    assert [one["sampled"] for one in answers] == [None] * 4
    for mine, theirs in zip(answers[::2], answers[1::2], strict=True):
        files = [model_file.read(fleet.model_dir / f"{one['model_version']}.safetensors")[0] for one in (mine, theirs)]
        assert set(files[0]) == set(files[1])
        for name, array in files[0].items():
            np.testing.assert_array_equal(array, files[1][name], name)
        same = ("n_users", "n_items", "n_interactions", "loss", "data", "chosen", "metrics", "baseline")
        assert {name: mine[name] for name in same} == {name: theirs[name] for name in same}
    assert worker.log.count("read on Spark") == 2
    assert list((fleet.model_dir / "blocks").iterdir()) == []


def test_an_engine_that_is_none_or_not_configured_is_said(fleet: Fleet, data: Path) -> None:
    with pytest.raises(MessageError, match="'local', 'fleet', 'ray' or 'spark'"):
        producers.enqueue_train_model("plays.csv", engine="dask")
    with pytest.raises(MessageError, match="'fleet', 'ray' or 'spark'"):
        producers.enqueue_compute_recommendations(engine="local")
    with pytest.raises(MessageError, match="makes everybody's lists: leave user_ids out"):
        producers.enqueue_compute_recommendations(engine="spark", user_ids=[1])
    fleet.start()
    with pytest.raises(ParameterError, match=r"the engine (spark|ray).*(TRAIN_ENGINE_URL must say|the extra spark)"):
        producers.enqueue_train_model("plays.csv", engine="spark").wait(100)
