"""PlayReading: the plays that a message is about, without those of forgotten users; by Spark where it trains, and they
are parquet or the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import structlog

from timbral.config.settings import Constants, settings
from timbral.data.dataset_path import resolve_dataset
from timbral.data.id_index import IdIndex
from timbral.data.interactions import Interactions
from timbral.data.interactions_reader import read_interactions
from timbral.data.read_options import ReadOptions
from timbral.errors import HistoryError
from timbral.history.location import open_history
from timbral.lists.forgotten import Forgotten
from timbral.messages import READ_ARGUMENTS, DataMessage

if TYPE_CHECKING:
    from timbral.history.table import HistoryTable
    from timbral.spark_data.spark_reader import SparkReader
    from timbral.spark_data.stored_plays import StoredPlays

__all__ = ["PlayReading", "ReadPlays"]

logger = structlog.get_logger(__name__)

IDS_AT_A_TIME = 100_000
ATTEMPTS = 3
"""Times that the newest history is read again because it changed meanwhile."""


@dataclass(frozen=True)
class ReadPlays:
    """``history`` says what of the history was read; None of a data set. ``stored`` is what Spark has read, whose
    plays are mapped; None where this process has read them, and holds them."""

    plays: Interactions
    history: dict[str, Any] | None
    stored: StoredPlays | None = None

    @property
    def sample(self) -> Interactions:
        """What is measured and chosen on: all of it, unless no process is to hold that."""
        return self.plays if self.stored is None else self.stored.sampled

    @property
    def sampled(self) -> dict[str, int] | None:
        """How much the sample is, where it is not all."""
        n_users, n_interactions = self.sample.matrix.shape[0], int(self.sample.matrix.nnz)
        if n_interactions == self.plays.matrix.nnz:
            return None
        return {"users": n_users, "interactions": n_interactions}


class PlayReading:
    """Reads for one job.

    Args:
        spark: where parquet and the history are read; None for here.
        check: called now and then; raises to stop.
        on_step: called with what Spark does now.
    """

    def __init__(
        self,
        forgotten: Forgotten,
        check: Callable[[], None],
        spark: SparkReader | None = None,
        on_step: Callable[[str], None] = lambda text: None,  # noqa: ARG005 - called with it
    ) -> None:
        self._forgotten = forgotten
        self._check = check
        self._spark = spark
        self._on_step = on_step

    def read(self, message: DataMessage) -> ReadPlays:
        """The plays that ``message`` is about.

        Raises:
            DatasetNotFoundError, DataError, HistoryError: they cannot be read.
        """
        limits = (Constants.MIN_PLAYS_THRESHOLD, Constants.MAX_PLAYS_THRESHOLD)
        kept_to = limits if message.apply_play_thresholds else (None, None)
        return self._of_history(message, kept_to) if message.dataset is None else self._of_file(message, kept_to)

    def _of_file(self, message: DataMessage, limits: tuple[float | None, float | None]) -> ReadPlays:
        assert message.dataset is not None  # noqa: S101 - for the type checker
        file = resolve_dataset(message.dataset, settings.DATA_DIR, settings.DATASET_URI_PREFIXES)
        arguments = message.model_dump(include=set(READ_ARGUMENTS))
        columns = arguments.pop("columns")
        options = ReadOptions(**arguments, columns=None if columns is None else tuple(columns))
        if self._spark is not None:
            if self._spark.takes(file, options):
                stored = self._spark.read_file(file, options, limits, self._forgotten_among, self._check, self._on_step)
                return ReadPlays(stored.plays, None, stored)
            logger.info("read in this process: Spark reads parquet and the history", dataset=file.name)
        read = read_interactions(file, options, on_rows=lambda n_rows: self._check())  # noqa: ARG005 - called with it
        return ReadPlays(self._without_forgotten(read.with_play_thresholds(*limits)), None)

    def _of_history(self, message: DataMessage, limits: tuple[float | None, float | None]) -> ReadPlays:
        history = open_history()
        for _ in range(ATTEMPTS):
            before = history.version()
            try:
                return self._of_table(history, message, limits)
            except HistoryError as error:
                # An erasure deletes the files that a reader of an older version is at.
                if message.history_version is not None or history.version() == before:
                    raise
                logger.info("the history changed while it was read, reading again", problem=str(error))
        return self._of_table(history, message, limits)

    def _of_table(
        self, history: HistoryTable, message: DataMessage, limits: tuple[float | None, float | None]
    ) -> ReadPlays:
        # Imported here, after it is known that deltalake is installed.
        from timbral.history.interactions import TrainedRows

        rows = TrainedRows.of(history, message.history_version, message.half_life_days)
        if self._spark is not None:
            from timbral.spark_data.history_sources import history_sources

            sources = history_sources(history, rows)
            stored = self._spark.read(
                history.uri, rows.table(), sources, limits, self._forgotten_among, self._check, self._on_step
            )
            return ReadPlays(stored.plays, rows.record(stored.plays.n_rows), stored)
        read = rows.read(on_rows=lambda n_rows: self._check())  # noqa: ARG005 - called with it
        record = rows.record(read.n_rows)
        return ReadPlays(self._without_forgotten(read.with_play_thresholds(*limits)), record)

    def _without_forgotten(self, data: Interactions) -> Interactions:
        """The data set may be a file of the app's, which goes on naming users who were forgotten."""
        return data.without_users(self._forgotten_among(data.user_ids))

    def _forgotten_among(self, ids: IdIndex) -> npt.NDArray[np.int32]:
        """Codes of the forgotten."""
        if not self._forgotten.count():
            return np.empty(0, np.int32)
        gone: list[int | str] = []
        for start in range(0, len(ids), IDS_AT_A_TIME):
            gone += self._forgotten.among(ids.ids(range(start, min(start + IDS_AT_A_TIME, len(ids)))))
        if gone:
            logger.info("forgotten users left out", users=len(gone))
        return ids.codes(gone)
