"""Spark for tests, where Java and a Spark are there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.spark_cluster import SparkCluster, missing


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A master, two workers and a Connect server on this machine."""
    problem = missing()
    if problem is not None:
        pytest.skip(problem)
    with SparkCluster(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster
