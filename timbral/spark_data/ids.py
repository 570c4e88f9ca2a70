"""The ids of all sources together, judged as those of one column, and what becomes of each source's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from timbral.data.checked_columns import id_columns
from timbral.data.id_index import IdIndex
from timbral.data.places import Place
from timbral.data.table import Table
from timbral.engines.block_store import BlockStore
from timbral.errors import DataError
from timbral.spark_data.cluster import Cluster
from timbral.spark_data.grouping import rows_by_group
from timbral.spark_data.source_rows import SIDES, IdSide, source_ids

__all__ = ["JudgedIds", "StoredIds", "codes_of_source", "judge_ids"]


GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio: multiplied by it, ints that are near each other are not (Knuth, TAOCP 3, 6.4)."""


class StoredIds(NamedTuple):
    """Names of an index's arrays in the store; ``as_text``: sources that have ints have them as text here."""

    tensors: tuple[str, ...]
    as_text: bool


class JudgedIds(NamedTuple):
    """``ids`` are in ascending order. ``drops_odd``: those that are not written as ints are left out."""

    ids: IdIndex
    stored: StoredIds
    drops_odd: bool


def judge_ids(
    cluster: Cluster,
    store: BlockStore,
    side: IdSide,
    table: Table,
    reports: Sequence[dict[str, Any]],
    names: Sequence[str],
    n_parts: int,
) -> JudgedIds:
    """All ids of a side, found on ``cluster``; left in the store for ``codes_of_source``.

    Args:
        table: the first part's.
        reports: of ``read_source``, those that have rows.
        names: of each report's file.

    Raises:
        DataError: as where one process reads them all.
    """
    column = id_columns(table)[SIDES.index(side)]
    as_text = not all(report[side]["is_int"] for report in reports)
    if as_text and column.column not in table.partitions:
        kinds = {report[side]["is_int"]: name for report, name in zip(reports, names, strict=True)}
        if len(kinds) == 2:
            raise DataError(f"column {column.column!r}: its ids are text, and ints in {kinds[True]}", kinds[False])
    numbers = [{"number": report["number"]} for report in reports]
    found = cluster.grouped(partial(_ids, store, side, as_text, n_parts), numbers, partial(_kept, store, side), n_parts)
    try:
        for part in found:
            column.add(pq.read_table(store.near(part["file"]))["id"].combine_chunks(), Place(column.column))
        column.take_codes()
        index, _ = column.index()
    except DataError:
        # The column has seen ids, and not rows: the first source that has the problem knows where it is.
        for report in reports:
            for problem in report[side]["problems"]:
                if problem is not None:
                    raise DataError(*problem) from None
        raise
    tensors = index.to_tensors(f"ids.{side}")
    for name, tensor in tensors.items():
        store.put(name, tensor)
    return JudgedIds(index, StoredIds(tuple(tensors), as_text), column.drops_odd)


def codes_of_source(store: BlockStore, side: IdSide, number: int, stored: StoredIds) -> npt.NDArray[np.int32]:
    """Of each id of a source its code in the index of all; -1 where it is left out."""
    index = IdIndex.from_tensors({name: store.get_near(name) for name in stored.tensors}, f"ids.{side}")
    return index.codes_of_distinct(source_ids(store, number, side, as_text=stored.as_text))


def _ids(
    store: BlockStore, side: IdSide, as_text: bool, n_parts: int, described: dict[str, Any]
) -> Iterable[tuple[int, pa.RecordBatch]]:
    """The ids of a source, by parts in which all sources have the same ones."""
    ids = source_ids(store, described["number"], side, as_text=as_text)
    if as_text:
        hashes = np.fromiter(map(crc32, ids.cast(pa.large_binary()).to_pylist()), np.uint64, len(ids))
    else:
        hashes = (ids.to_numpy().view(np.uint64) * GOLDEN) >> np.uint64(32)
    return rows_by_group((hashes % np.uint64(n_parts)).astype(np.int64), {"id": ids})


def _kept(store: BlockStore, side: IdSide, part: int, table: pa.Table) -> dict[str, Any]:
    """Write a part of all ids, each once."""
    name = f"distinct.{side}{part}"
    with store.new_file(name) as file:
        pq.write_table(pa.table({"id": table["id"].unique()}), file)
    return {"file": name}
