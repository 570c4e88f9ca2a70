"""Entries: the rows of a block of users brought together, what is repeated made one, and thresholds kept to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timbral.data.matrix_builder import Entries, MatrixBuilder
from timbral.data.read_options import Repeats
from timbral.engines.block_store import BlockStore
from timbral.errors import DataError
from timbral.spark_data.grouping import rows_by_group
from timbral.spark_data.ids import StoredIds, codes_of_source
from timbral.spark_data.source_rows import SIDES, source_rows

__all__ = ["GONE", "Merging", "coded_rows", "merge_block"]

GONE: Final = "gone"
"""Codes of the users who were forgotten, ascending."""

PlainDict = dict[str, Any]


@dataclass(frozen=True)
class Merging:
    """What the tasks need to know: how many users and items there are, how many of the users make a block, and what
    is to become of their rows."""

    n_users: int
    n_items: int
    block_users: int
    repeats: Repeats
    ids: tuple[StoredIds, StoredIds]
    has_times: bool
    min_plays: float | None
    max_plays: float | None

    @property
    def n_blocks(self) -> int:
        return -(-self.n_users // self.block_users)


def coded_rows(store: BlockStore, merging: Merging, described: PlainDict) -> Iterable[tuple[int, pa.RecordBatch]]:
    """The rows of a source by the blocks of their users, with the codes of all ids; without those that are left out."""
    number = described["number"]
    rows = source_rows(store, number)
    users, items = (
        codes_of_source(store, side, number, stored)[rows[side]]
        for side, stored in zip(SIDES, merging.ids, strict=True)
    )
    kept = (users >= 0) & (items >= 0)
    columns = {"user": users[kept], "item": items[kept], "value": rows["values"][kept]}
    if merging.has_times:
        columns["time"] = rows["times"][kept] * described["time_scale"]
    return rows_by_group(columns["user"] // merging.block_users, columns)


def merge_block(store: BlockStore, merging: Merging, block: int, table: pa.Table) -> PlainDict:
    """Write the entries of a block of users, whose rows are in the order of the data set, and who has how many; says
    what there was."""
    first = block * merging.block_users
    n_users = min(merging.block_users, merging.n_users - first)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    del table
    builder = MatrixBuilder(merging.repeats)
    users, items = np.arange(n_users, dtype=np.int32), np.arange(merging.n_items, dtype=np.int32)
    rows = Entries((columns["user"] - first).astype(np.int32), columns["item"], columns["value"], columns.get("time"))
    del columns
    try:
        matrix, times = builder.build(rows, users, items, (n_users, merging.n_items))
    except DataError as error:
        return {"block": block, "problem": str(error)}
    kept = np.ones(matrix.nnz, dtype=bool)
    if merging.min_plays is not None:
        kept = matrix.data >= merging.min_plays
    answer = {
        "block": block,
        "n_places": builder.n_entries,
        "n_nonzero": matrix.nnz,
        "n_often": int(kept.sum()),
        "largest": float(matrix.data.max(initial=0.0)),
    }
    gone = np.array(store.get(GONE)) - first
    gone = gone[(gone >= 0) & (gone < n_users)]
    owner = np.repeat(users, np.diff(matrix.indptr))
    kept &= ~np.isin(owner, gone)
    values = matrix.data[kept] if merging.max_plays is None else np.minimum(matrix.data[kept], merging.max_plays)
    zeros = builder.zeros
    no_zeros = np.zeros(n_users, np.int64), np.empty(0, np.int32)
    zero_counts, zero_items = no_zeros if zeros is None else (np.diff(zeros.indptr), zeros.indices)
    arrays: dict[str, npt.NDArray[Any]] = {
        "counts": np.bincount(owner[kept], minlength=n_users),
        "items": matrix.indices[kept],
        "values": values.astype(np.float32),
        "zero_counts": zero_counts,
        "zero_items": zero_items,
    }
    if times is not None:
        arrays["times"] = times[kept]
    store.put_all(f"entries{block}", arrays)
    store.put_all(
        f"counts{block}",
        {
            "users": arrays["counts"],
            "places": np.diff(matrix.indptr) + zero_counts,
            **_by_item("item", arrays["items"]),
            **_by_item("place", np.concatenate([matrix.indices, zero_items])),
        },
    )
    return answer | {"n_entries": int(kept.sum())}


def _by_item(name: str, items: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[Any]]:
    found, counts = np.unique(items, return_counts=True)
    return {f"{name}_codes": found, f"{name}_counts": counts}
