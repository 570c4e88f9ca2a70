"""From sources to StoredPlays: what the trainer asks of the cluster, step by step, and what it holds of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import structlog
from scipy import sparse

from timbral.data.checked_columns import n_odd_rows
from timbral.data.data_report import DataReport
from timbral.data.id_index import IdIndex
from timbral.data.interactions import Interactions
from timbral.data.table import Table
from timbral.data.time_column import MICROSECONDS
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Run, block_name
from timbral.engines.stored_halves import Blocks, blocks_of
from timbral.errors import DataError
from timbral.models.engine.halves import SideName
from timbral.spark_data.cluster import Cluster
from timbral.spark_data.entries import GONE, Merging, coded_rows, merge_block
from timbral.spark_data.ids import judge_ids
from timbral.spark_data.mapped_file import mapped_file
from timbral.spark_data.numbering import Numbering
from timbral.spark_data.side_blocks import (
    ItemBlocks,
    make_items_block,
    make_users_block,
    put_items_block,
    turned_rows,
    zeros_name,
)
from timbral.spark_data.source_rows import read_source
from timbral.spark_data.sources import Source
from timbral.spark_data.stored_plays import StoredPlays, sample_of

__all__ = ["Reading"]

logger = structlog.get_logger(__name__)

ROWS_PER_BLOCK: Final = 4_000_000
"""About so many rows of a block of users, or of items, are held by a task."""

MOST_ENTRIES: Final = 2**31 - 1
"""scipy would make all indices larger, and a copy of them, in whatever process has the model."""


@dataclass(frozen=True)
class Reading:
    """What it takes to read.

    Args:
        store: of this job's data alone; made by ``read``.
        run: who does the half-sweeps on it.
        n_blocks: tasks of a half-sweep at least.
        check: called between steps; raises to stop.
        on_step: called with what is done now.
    """

    cluster: Cluster
    store: BlockStore
    run: Run
    n_blocks: int
    most_sampled: int
    check: Callable[[], None] = lambda: None
    on_step: Callable[[str], None] = lambda text: None  # noqa: ARG005 - called with it

    def read(
        self,
        name: str,
        table: Table,
        sources: Sequence[Source],
        *,
        min_plays: float | None = None,
        max_plays: float | None = None,
        forgotten: Callable[[IdIndex], npt.NDArray[np.int32]] = lambda ids: np.empty(0, np.int32),  # noqa: ARG005 - of nobody, whatever the ids
    ) -> StoredPlays:
        """The plays of all ``sources``, which are ``name`` together; ``table`` is the first part's.

        Args:
            forgotten: the codes, ascending, of those users who are to be left out.

        Raises:
            DataError: as where one process reads them.
            TrainingError: the cluster has failed.
        """
        store, cluster = self.store, self.cluster
        store.open()
        self._step(f"reading in {len(sources)} parts")
        described = [{"number": number, "source": source} for number, source in enumerate(sources)]
        every = cluster.each(partial(read_source, store), described)
        reports = _with_rows(name, every)
        n_rows = sum(report["n_rows"] for report in every)
        called = [sources[report["number"]].called for report in reports]

        self._step("finding the ids")
        n_blocks = max(self.n_blocks, -(-n_rows // ROWS_PER_BLOCK))
        judged = [judge_ids(cluster, store, side, table, reports, called, n_blocks) for side in ("users", "items")]
        users, items = judged
        n_odd = [sum(numbers) for numbers in zip(*(report["n_odd"] for report in reports), strict=True)]
        n_dropped = sum(report["n_dropped"] for report in every) + n_odd_rows(
            n_odd, drops_users=users.drops_odd, drops_items=items.drops_odd
        )
        if not len(users.ids) or not len(items.ids) or n_dropped == n_rows:
            raise DataError(f"has no row with all it needs; all {n_rows} would be left out", name)
        gone = forgotten(users.ids)
        store.put(GONE, np.sort(gone))

        self._step("bringing each user's rows together")
        merging = Merging(
            n_users=len(users.ids),
            n_items=len(items.ids),
            block_users=-(-len(users.ids) // min(n_blocks, len(users.ids))),
            repeats=table.options.repeats,
            ids=(users.stored, items.stored),
            has_times=table.found.time is not None,
            min_plays=min_plays,
            max_plays=max_plays,
        )
        scales = _time_scales(reports, table, called)
        numbers = [
            {"number": report["number"], "time_scale": scale} for report, scale in zip(reports, scales, strict=True)
        ]
        merged = cluster.grouped(
            partial(coded_rows, store, merging), numbers, partial(merge_block, store, merging), merging.n_blocks
        )  # fmt: skip
        value = table.found.value
        try:
            numbering = Numbering.of(store, merging, merged, None if value is None else value.text)
        except DataError as error:
            raise DataError(error.args[0], name) from None
        n_entries = int(numbering.user_counts.sum())
        if n_entries > MOST_ENTRIES:
            raise DataError(f"has {n_entries:,} plays of different items; a model's file holds {MOST_ENTRIES:,}", name)
        n_places = sum(answer["n_places"] for answer in merged)
        report = DataReport.of(table, n_rows, n_dropped, n_rows - n_dropped - n_places)
        for done in ("rows", "ids", "distinct", "counts"):
            store.remove(done)

        self._step("turning users' plays into items'")
        blocks = self._blocks(merging, numbering, {answer["block"] for answer in merged})
        self._step("gathering what the model's file will hold")
        plays = self._gathered(numbering, blocks["users"], merging.has_times, report, (users.ids, items.ids))
        sampled, sample_users = sample_of(plays, self.most_sampled)
        logger.info(
            "read on Spark", parts=len(sources), rows=n_rows, users=len(plays.user_ids), items=len(plays.item_ids),
            sampled_users=len(sample_users), blocks={side: len(one) for side, one in blocks.items()},
        )  # fmt: skip
        return StoredPlays(plays, sampled, sample_users, numbering.item_counts, store, blocks, cluster, self.run)

    def _step(self, text: str) -> None:
        self.check()
        self.on_step(text)

    def _blocks(self, merging: Merging, numbering: Numbering, made: set[int]) -> dict[SideName, Blocks]:
        """Have the blocks of both sides made."""
        store, cluster = self.store, self.cluster
        n_entries = int(numbering.user_counts.sum())
        n_blocks = max(self.n_blocks, -(-n_entries // ROWS_PER_BLOCK))
        blocks: dict[SideName, Blocks] = {
            "users": blocks_of(np.append(0, np.cumsum(numbering.user_counts)), n_blocks),
            "items": blocks_of(np.append(0, np.cumsum(numbering.item_counts)), n_blocks),
        }
        described = [
            {
                "number": number,
                "start": start,
                "first": int(numbering.users[start]),
                "last": int(numbering.users[stop - 1]),
                "blocks": sorted(made),
            }
            for number, (start, stop) in enumerate(blocks["users"])
        ]
        cluster.each(partial(make_users_block, store, merging), described)
        store.remove("entries")
        edges = ItemBlocks((*(start for start, _ in blocks["items"]), len(numbering.items)))
        turned = cluster.grouped(
            partial(turned_rows, store, edges), described, partial(make_items_block, store, edges), len(blocks["items"])
        )  # fmt: skip
        none = np.empty(0, np.int32)
        for number in set(range(len(blocks["items"]))) - {answer["number"] for answer in turned}:
            put_items_block(store, edges, number, none, none, np.empty(0, np.float32))
        return blocks

    def _gathered(
        self,
        numbering: Numbering,
        blocks: Blocks,
        has_times: bool,
        report: DataReport,
        ids: tuple[IdIndex, IdIndex],
    ) -> Interactions:
        """All plays of all users, in files of this host's that are mapped."""
        store, n_users, n_items = self.store, len(numbering.users), len(numbering.items)
        n_entries = int(numbering.user_counts.sum())
        indptr = np.append(0, np.cumsum(numbering.user_counts)).astype(np.int32)

        def whole(name: str, dtype: Any) -> npt.NDArray[Any]:
            parts = (store.get(block_name("users", number, name)) for number in range(len(blocks)))
            return mapped_file(store.folder / f"plays.{name}.npy", dtype, n_entries, parts)

        parts: Any = whole("values", np.float32), whole("indices", np.int32), indptr
        matrix = sparse.csr_matrix(parts, shape=(n_users, n_items), copy=False)
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        times = whole("times", np.int64) if has_times else None
        zeros = [store.get_all(zeros_name(number)) for number in range(len(blocks))]
        zero_items = np.concatenate([one["zero_items"] for one in zeros])
        rated_zero = None
        if len(zero_items):
            ends = np.append(0, np.cumsum(np.concatenate([one["zero_counts"] for one in zeros])))
            rated_zero = sparse.csr_matrix((np.ones(len(zero_items), bool), zero_items, ends), (n_users, n_items))
        user_ids, item_ids = (
            one if len(left) == len(one) else one.taken(left)
            for one, left in zip(ids, (numbering.users, numbering.items), strict=True)
        )
        return Interactions(matrix, user_ids, item_ids, times, report.rows, report, rated_zero)


def _with_rows(name: str, reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reports of sources that have rows, in their order."""
    in_order = sorted(reports, key=lambda report: int(report["number"]))
    for report in in_order:
        if "problem" in report:
            raise DataError(*report["problem"])
    n_rows = sum(report["n_rows"] for report in in_order)
    if not n_rows:
        raise DataError("has a header and no data rows", name)
    found = [report for report in in_order if not report["is_empty"]]
    if not found:
        raise DataError(f"has no row with all it needs; all {n_rows} would be left out", name)
    return found


def _time_scales(reports: Sequence[dict[str, Any]], table: Table, called: Sequence[str]) -> list[int]:
    """What to multiply the times of each source by: ints are seconds where others are floats."""
    if table.found.time is None:
        return [1] * len(reports)
    kinds = [report["time_kind"] for report in reports]
    first = kinds[0]
    for kind, name in zip(kinds, called, strict=True):
        if kind != first and {kind, first} != {"int", "float"}:
            raise DataError(f"column {table.found.time.text!r}: times are {kind} here and {first} before", name)
    return [MICROSECONDS if kind == "int" and "float" in kinds else 1 for kind in kinds]
