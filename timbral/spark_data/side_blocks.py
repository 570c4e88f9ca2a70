"""The entries of both sides in the blocks that a training solves: users' as they come, items' turned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import block_name
from timbral.models.engine.halves import SideName
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Weighting
from timbral.spark_data.entries import Merging
from timbral.spark_data.grouping import rows_by_group
from timbral.spark_data.numbering import NEW_ITEM, NEW_USER

__all__ = ["LEVELS", "ItemBlocks", "block_rows_of", "make_items_block", "make_users_block", "turned_rows",
           "weigh_block", "zeros_name"]  # fmt: skip

LEVELS: Final = "user_levels"

PlainDict = dict[str, Any]


@dataclass(frozen=True)
class ItemBlocks:
    """``edges``: the first item of each block, and the number of items."""

    edges: tuple[int, ...]


def zeros_name(number: int) -> str:
    """Where it is what the users of a block rated 0."""
    return f"zeros{number}"


def make_users_block(store: BlockStore, merging: Merging, described: PlainDict) -> PlainDict:
    """Write block ``number`` of the users, whose codes before the numbering are within ``first`` and ``last``."""
    number, first, last = described["number"], described["first"], described["last"]
    new_user, new_item = store.get_near(NEW_USER), store.get_near(NEW_ITEM)
    found: list[dict[str, npt.NDArray[Any]]] = []
    for block in range(first // merging.block_users, last // merging.block_users + 1):
        if block not in described["blocks"]:
            continue
        start = block * merging.block_users
        entries = store.get_all(f"entries{block}")
        stop = start + len(entries["counts"])
        users = np.arange(start, stop)
        wanted = (users >= first) & (users <= last) & (new_user[start:stop] >= 0)
        found.append(_of_users(entries, wanted, new_item))
    joined = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    store.put(block_name("users", number, "indptr"), np.append(0, np.cumsum(joined["counts"])))
    store.put(block_name("users", number, "indices"), joined["items"])
    for name in ("values", "times"):
        if name in joined:
            store.put(block_name("users", number, name), joined[name])
    store.put_all(zeros_name(number), {name: joined[name] for name in ("zero_counts", "zero_items")})
    return {"number": number, "n_zeros": len(joined["zero_items"])}


def _of_users(
    entries: dict[str, npt.NDArray[Any]], wanted: npt.NDArray[np.bool_], new_item: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[Any]]:
    is_wanted = np.repeat(wanted, entries["counts"])
    made: dict[str, npt.NDArray[Any]] = {
        name: entries[name][is_wanted] for name in ("values", "times") if name in entries
    }
    made["counts"] = entries["counts"][wanted].astype(np.int64)
    made["items"] = new_item[entries["items"][is_wanted]]
    owner = np.repeat(np.flatnonzero(wanted).astype(np.int64), entries["zero_counts"][wanted])
    zero_items = new_item[entries["zero_items"][np.repeat(wanted, entries["zero_counts"])]]
    # An item that nobody is left with is none.
    owner, made["zero_items"] = owner[zero_items >= 0], zero_items[zero_items >= 0]
    made["zero_counts"] = np.bincount(owner, minlength=len(wanted))[wanted]
    return made


def turned_rows(store: BlockStore, blocks: ItemBlocks, described: PlainDict) -> Iterable[tuple[int, pa.RecordBatch]]:
    """The entries of block ``number`` of the users, whose first is ``start``, by blocks of items."""
    number = described["number"]
    indptr, items, values = (store.get(block_name("users", number, name)) for name in ("indptr", "indices", "values"))
    start = described["start"]
    users = np.repeat(np.arange(start, start + len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    of_block = np.searchsorted(blocks.edges, items, side="right") - 1
    return rows_by_group(of_block, {"item": items, "user": users, "value": values})


def make_items_block(store: BlockStore, blocks: ItemBlocks, number: int, table: pa.Table) -> PlainDict:
    """Write a block of the items, of whose rows ``table`` has all, users ascending."""
    items, users, values = (table[name].to_numpy() for name in ("item", "user", "value"))
    del table
    put_items_block(store, blocks, number, items, users, values)
    return {"number": number}


def put_items_block(
    store: BlockStore,
    blocks: ItemBlocks,
    number: int,
    items: npt.NDArray[np.int32],
    users: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
) -> None:
    """Write a block of the items from its entries, users ascending."""
    start, stop = blocks.edges[number : number + 2]
    n_users = int(users[-1]) + 1 if len(users) else 0
    listed = sparse.coo_matrix((values, (items - start, users)), shape=(stop - start, n_users))
    listed.has_canonical_format = True  # nothing is there twice, and scipy would sort to find out
    rows = listed.tocsr()  # by counting: it keeps the order within a row
    store.put(block_name("items", number, "indptr"), rows.indptr.astype(np.int64))
    store.put(block_name("items", number, "indices"), rows.indices.astype(np.int32, copy=False))
    store.put(block_name("items", number, "values"), rows.data)


def block_rows_of(store: BlockStore, side: SideName, number: int, n_columns: int) -> SparseRows:
    """The rows of a block, mapped."""
    indptr, indices, values = (store.get(block_name(side, number, name)) for name in ("indptr", "indices", "values"))
    return SparseRows(indptr, indices, values, n_columns)


def weigh_block(store: BlockStore, weighting: Weighting, described: PlainDict) -> PlainDict:
    """Write what the entries of a block weigh; ``LEVELS`` in the store are those of ``weighting``."""
    side, number = described["side"], described["number"]
    rows, levels = block_rows_of(store, side, number, 0), store.get_near(LEVELS)
    if side == "users":
        start = described["start"]
        of_entries = np.repeat(levels[start : start + rows.n_rows], np.diff(rows.indptr))
    else:
        of_entries = levels[rows.indices]
    for name, array in zip(("confidence", "target"), weighting.weigh(rows.values, of_entries), strict=True):
        store.put(block_name(side, number, name), np.ascontiguousarray(array, dtype=np.float32))
    return {"side": side, "number": number}
