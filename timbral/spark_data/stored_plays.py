"""StoredPlays: plays whose blocks are in the store, and what a training sees of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from timbral.data.interactions import Interactions
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Run
from timbral.engines.stored_halves import Blocks, StoredHalves
from timbral.models.engine.halves import Halves, Problem, SideName
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Side, Weighting
from timbral.models.fitting.training_data import TrainingData
from timbral.models.kernels.threads import Threads
from timbral.spark_data.cluster import Cluster
from timbral.spark_data.side_blocks import LEVELS, weigh_block

__all__ = ["StoredPlays", "sample_of"]

NO_ENTRIES: Final = np.empty(0, np.float32)


@dataclass(frozen=True)
class StoredPlays(TrainingData):
    """``plays`` are all of them, mapped from files; ``sampled`` those of the users ``sample_users`` (ascending), whom a
    training measures and chooses on; ``blocks`` what is in ``store`` of each side."""

    plays: Interactions
    sampled: Interactions
    sample_users: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    store: BlockStore
    blocks: dict[SideName, Blocks]
    cluster: Cluster
    run: Run

    @property
    def rows(self) -> SparseRows:
        return _rows(self.plays)

    @property
    def sample(self) -> SparseRows:
        return _rows(self.sampled)

    @property
    def sample_times(self) -> npt.NDArray[np.int64] | None:
        return self.sampled.times

    @property
    def item_counts(self) -> npt.NDArray[np.int64]:
        return self.counts

    @property
    def sides_hold_entries(self) -> bool:
        return False

    def marks(self, of_sample: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        marks = np.zeros(len(self.plays.user_ids), dtype=bool)
        marks[self.sample_users[of_sample]] = True
        return marks

    def sides(self, weighting: Weighting) -> tuple[Side, Side]:
        """Both, with the entries' weights made by the cluster and in the store."""
        self.store.put(LEVELS, weighting.user_levels)
        light = replace(weighting, user_levels=NO_ENTRIES, item_weights=NO_ENTRIES)
        descriptions: list[dict[str, Any]] = [
            {"side": side, "number": number, "start": start}
            for side, blocks in self.blocks.items()
            for number, (start, _) in enumerate(blocks)
        ]
        self.cluster.each(partial(weigh_block, self.store, light), descriptions)
        user_counts = np.diff(self.rows.indptr)
        n_users, n_items = self.plays.matrix.shape
        mu = weighting.unobserved_target
        return (
            _side(user_counts, n_items, mu, *weighting.of_users(user_counts)),
            _side(self.counts, n_users, mu, *weighting.of_items(self.counts)),
        )

    def halves_of(self, problem: Problem, threads: Threads) -> Halves:  # noqa: ARG002 - others do the work
        """Half-sweeps on the blocks that are in the store."""
        return StoredHalves(problem, self.store, self.run, 0, self.blocks)


def sample_of(plays: Interactions, most_entries: int) -> tuple[Interactions, npt.NDArray[np.int64]]:
    """The plays of users drawn at random, always the same of the same data, as many as have ``most_entries`` together;
    everybody where that is enough. All items stay; of no user a part is taken."""
    n_users, matrix = len(plays.user_ids), plays.matrix
    if matrix.nnz <= most_entries:
        return plays, np.arange(n_users)
    drawn = np.random.default_rng(0).permutation(n_users)
    counts = np.diff(matrix.indptr).astype(np.int64)
    users = np.sort(drawn[np.cumsum(counts[drawn]) <= most_entries])
    of_users = matrix[users]
    times = None
    if plays.times is not None:
        times = np.concatenate(
            [plays.times[matrix.indptr[user] : matrix.indptr[user + 1]] for user in users.tolist()]
            or [np.empty(0, np.int64)]
        )
    zeros = None if plays.zeros is None else plays.zeros[users]
    sampled = replace(plays, matrix=of_users, times=times, zeros=zeros, user_ids=plays.user_ids.taken(users))
    return sampled, users


def _rows(plays: Interactions) -> SparseRows:
    matrix = plays.matrix
    return SparseRows(matrix.indptr.astype(np.int64), matrix.indices, matrix.data, matrix.shape[1])


def _side(
    counts: npt.NDArray[np.int64],
    n_columns: int,
    unobserved_target: float,
    weight: npt.NDArray[np.float32],
    l2: npt.NDArray[np.float32],
) -> Side:
    """A side without its entries."""
    indptr = np.append(0, np.cumsum(counts)).astype(np.int64)
    rows = SparseRows(indptr, np.empty(0, np.int32), NO_ENTRIES, n_columns)
    return Side(rows, NO_ENTRIES, NO_ENTRIES, unobserved_target, weight, l2)
