"""The rows of one source: checked as in one process, and left in the store, ids as places among the source's own."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from timbral.data.checked_columns import CheckedColumns
from timbral.data.id_column import IdColumn
from timbral.data.places import Place
from timbral.data.time_column import MICROSECONDS
from timbral.engines.block_store import BlockStore
from timbral.errors import DataError, DatasetNotFoundError, TimbralError, TrainingError
from timbral.spark_data.sources import Source

__all__ = ["SIDES", "IdSide", "read_source", "source_ids", "source_rows"]

IdSide = Literal["users", "items"]
SIDES: Final[tuple[IdSide, IdSide]] = ("users", "items")


def read_source(store: BlockStore, described: dict[str, Any]) -> dict[str, Any]:
    """Read ``described["source"]``, which is the one of ``described["number"]``; what was found, or what is wrong.

    Raises:
        TrainingError: this host does not see the store.
    """
    if not store.exists():
        problem = "TRAIN_STORE_URI must be a folder that they and the trainer share"
        raise TrainingError(f"Spark's executors do not see the store {store.folder}: {problem}")
    number, source = described["number"], described["source"]
    try:
        return {"number": number} | _read(store, number, source)
    except DataError as error:
        return {"number": number, "problem": list(error.args)}
    except DatasetNotFoundError:
        return {"number": number, "problem": ["the trainer sees it, and Spark's executors do not", source.called]}
    except TimbralError as error:
        return {"number": number, "problem": [str(error), source.called]}


def _read(store: BlockStore, number: int, source: Source) -> dict[str, Any]:
    table = source.table()
    columns = CheckedColumns(table)
    values: list[npt.NDArray[np.float32]] = []
    times: list[npt.NDArray[np.int64]] = []
    first_row = source.first_row
    for batch in table.batches:
        rows = columns.add(batch, Place(source.called, first_row))
        first_row += len(batch)
        if rows is None:
            continue
        if rows.now_in_seconds:
            times = [one * MICROSECONDS for one in times]
        values.append(rows.values)
        times += [] if rows.times is None else [rows.times]
    report: dict[str, Any] = {
        "n_rows": columns.n_rows,
        "n_dropped": columns.n_dropped,
        "n_odd": columns.n_odd,
        "is_empty": not values,
    }
    if values:
        arrays: dict[str, npt.NDArray[Any]] = {"values": np.concatenate(values)}
        if columns.times is not None:
            arrays["times"] = np.concatenate(times)
            report["time_kind"] = columns.times.kind
        for side, column in zip(SIDES, (columns.users, columns.items), strict=True):
            arrays[side], report[side] = _ids_apart(store, number, side, column)
        store.put_all(f"rows{number}", arrays)
    return report


def _ids_apart(
    store: BlockStore, number: int, side: IdSide, column: IdColumn
) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
    """The rows' ids as places in the list of ids that is written; and what is to be known of that."""
    codes = column.take_codes()
    ids, places = column.found()
    with store.new_file(f"ids{number}.{side}") as file:
        pq.write_table(pa.table({"id": ids}), file)
    problems = [None if problem is None else list(problem.args) for problem in column.problems]
    return places[codes], {"is_int": pa.types.is_int64(ids.type), "problems": problems}


def source_rows(store: BlockStore, number: int) -> dict[str, npt.NDArray[Any]]:
    """``users`` and ``items``, places among ``source_ids``; ``values``; ``times`` where there are such."""
    return store.get_all(f"rows{number}")


def source_ids(store: BlockStore, number: int, side: IdSide, *, as_text: bool) -> pa.Array:
    """The ids of a source, each once: int64, or large_string where ``as_text``."""
    ids = pq.read_table(store.near(f"ids{number}.{side}"))["id"].combine_chunks()
    return ids.cast(pa.large_string() if as_text else pa.int64())
