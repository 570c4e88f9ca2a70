"""The history as Interactions: what a training on it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from timbral.data.column_names import found_columns
from timbral.data.interactions import Interactions
from timbral.data.interactions_reader import collect_interactions
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.errors import DataError
from timbral.history.files import FilePart
from timbral.history.table import HistoryTable
from timbral.plays.weights import LEAST_WEIGHT

__all__ = ["TrainedRows"]

logger = structlog.get_logger(__name__)

COLUMNS: Final = ["user_id", "item_id", "plays", "at"]
AS_RECORDED: Final = ReadOptions("user_id", "item_id", "plays", "at", format="history")
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class TrainedRows:
    """Which rows of which version of the table at ``uri`` are trained on, and what their plays count.

    Ids are all ints or all strings in a model. Where a table has both, the rows of the rarer kind are left out, and
    counted: ``are_ints`` says which kind the users' and the items' are.
    """

    uri: str
    version: int
    watermark: str
    n_rows: int
    newest_us: int
    are_ints: tuple[bool, bool]
    half_life_days: float | None

    @classmethod
    def of(cls, history: HistoryTable, version: int | None = None, half_life_days: float | None = None) -> Self:
        """All plays of a version of the table (the newest where None).

        Raises:
            DataError: there are no plays yet, or no such version.
            HistoryError: the table cannot be read.
        """
        stats = history.stats(version)
        if stats.rows == 0 or stats.newest is None:
            raise DataError(
                "the history is empty: record plays (producers.record_plays), import a file (timbral plays import) "
                "or name a dataset to train on",
                history.uri,
            )
        kinds = _main_kinds(history, stats.version, stats.rows)
        newest_us = round(stats.newest.timestamp() * 1_000_000)
        return cls(history.uri, stats.version, stats.watermark, stats.rows, newest_us, kinds, half_life_days)

    def table(self, part: FilePart | None = None) -> Table:
        """Their columns, and all their rows, or those in ``part``, in batches."""
        found = found_columns(AS_RECORDED, COLUMNS, self.uri)
        batches = _rows(HistoryTable(self.uri), self.version, self.are_ints, self.half_life_days, self.newest_us, part)
        return Table(found, AS_RECORDED, "history", from_text=False, columns=COLUMNS, batches=batches)

    def read(self, on_rows: Callable[[int], None] | None = None) -> Interactions:
        """All of them, added up; always the same for the same version."""
        return collect_interactions([(self.uri, self.table())], self.uri, on_rows=on_rows)

    def record(self, n_rows: int) -> dict[str, Any]:
        """Where ``n_rows`` that were read are from, as a version keeps it."""
        n_left_out = self.n_rows - n_rows
        if n_left_out:
            kinds = dict(zip(("users", "items"), ("int" if is_int else "str" for is_int in self.are_ints), strict=True))
            logger.warning(
                "rows with ids of another kind were left out", rows=n_left_out, of=self.n_rows, trained_on=kinds
            )
        return {
            "uri": self.uri,
            "version": self.version,
            "watermark": self.watermark,
            "rows": n_rows,
            "rows_left_out": n_left_out,
            "newest_us": self.newest_us,
            "half_life_days": self.half_life_days,
        }


def _main_kinds(history: HistoryTable, version: int, n_rows: int) -> tuple[bool, bool]:
    """Whether most users' and items' ids are ints."""
    counts = [0, 0]
    for batch in history.batches(version, ["user_is_int", "item_is_int"]):
        for place in (0, 1):
            counts[place] += batch.column(place).true_count
    return 2 * counts[0] >= n_rows, 2 * counts[1] >= n_rows


def _rows(
    history: HistoryTable,
    version: int,
    are_ints: tuple[bool, bool],
    half_life_days: float | None,
    newest_us: int,
    part: FilePart | None,
) -> Iterator[pa.RecordBatch]:
    wanted = ["user_id", "item_id", "plays", "at", "user_is_int", "item_is_int"]
    for whole in history.batches(version, wanted, part):
        batch = whole
        for flag, is_int in (("user_is_int", are_ints[0]), ("item_is_int", are_ints[1])):
            if batch[flag].true_count != (len(batch) if is_int else 0):
                batch = batch.filter(pc.equal(batch[flag], is_int))
        if not len(batch):
            continue
        ids = [_ids(batch[name], is_int) for name, is_int in (("user_id", are_ints[0]), ("item_id", are_ints[1]))]
        plays = batch["plays"]
        if half_life_days is not None:
            ages_us = newest_us - batch["at"].cast(pa.int64()).to_numpy()
            weights = np.exp2(-ages_us / (half_life_days * DAY_US)).clip(LEAST_WEIGHT, 1.0)
            plays = pa.array(plays.to_numpy() * weights)
        yield pa.RecordBatch.from_arrays([*ids, plays, batch["at"]], names=wanted[:4])


def _ids(texts: pa.DictionaryArray, is_int: bool) -> pa.Array:
    if not is_int:
        return texts
    try:
        return pa.DictionaryArray.from_arrays(texts.indices, texts.dictionary.cast(pa.int64()))
    except pa.ArrowInvalid:  # rows were filtered out, and their ids are in the dictionary still
        return texts.dictionary_decode().cast(pa.int64())
