"""Engines for tests: Spark where Java and a Spark are there, Ray where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

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


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster on this machine."""
    found = pytest.importorskip("ray", reason="needs pip install 'timbral[ray]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield found
        found.shutdown()
