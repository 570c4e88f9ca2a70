"""SparkReader: the plays of one training, read by Spark from parquet or from the history."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from timbral.config.settings import settings
from timbral.data.dataset_file import DatasetFile
from timbral.data.id_index import IdIndex
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.engines import stores
from timbral.engines.spark_run import SparkRun
from timbral.errors import DataError
from timbral.spark_data.cluster import SparkCluster
from timbral.spark_data.reading import Reading
from timbral.spark_data.sources import Source, file_sources, is_parquet
from timbral.spark_data.stored_plays import StoredPlays

__all__ = ["SparkReader"]

ForgottenAmong = Callable[[IdIndex], npt.NDArray[np.int32]]


class SparkReader:
    """Reads on the cluster whose Spark Connect server is at ``url``; what it leaves in the store lasts until it is
    left."""

    def __init__(self, url: str, job_id: str) -> None:
        self._url = url
        # A name of its own for each delivery: other hosts have copies of what an earlier one had.
        self._store = stores.store_of(f"{stores.job_digest(job_id)}-data-{secrets.token_hex(4)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def takes(self, file: DatasetFile, options: ReadOptions) -> bool:
        """Whether it reads ``file``: parquet, or a folder of it.

        Raises:
            DatasetNotFoundError, DataError: there is no such file, or nothing in the folder.
        """
        return is_parquet(file, options.checked())

    def read_file(
        self,
        file: DatasetFile,
        options: ReadOptions,
        limits: tuple[float | None, float | None],
        forgotten: ForgottenAmong,
        check: Callable[[], None],
        on_step: Callable[[str], None],
    ) -> StoredPlays:
        """The plays in ``file``. ``limits``: least and most plays of an entry.

        Raises:
            DataError, ParameterError: as where one process reads them.
            TrainingError: Spark has failed.
        """
        table, sources = file_sources(file, options)
        return self.read(file.name, table, sources, limits, forgotten, check, on_step)

    def read(
        self,
        name: str,
        table: Table,
        sources: Sequence[Source],
        limits: tuple[float | None, float | None],
        forgotten: ForgottenAmong,
        check: Callable[[], None],
        on_step: Callable[[str], None],
    ) -> StoredPlays:
        """The plays of ``sources``; as ``read_file``."""
        if not sources:
            raise DataError("has no data rows", name)
        reading = Reading(
            SparkCluster(self._url),
            self._store,
            SparkRun(self._store, self._url),
            settings.TRAIN_BLOCKS,
            settings.TRAIN_SAMPLE_PLAYS,
            check,
            on_step,
        )
        min_plays, max_plays = limits
        return reading.read(name, table, sources, min_plays=min_plays, max_plays=max_plays, forgotten=forgotten)
