"""BlockTask: a block of rows of half a sweep, as a message that any process can do that sees the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, cast, get_args

import numpy as np

from timbral.engines.block_store import BlockStore
from timbral.errors import TrainingError
from timbral.models.engine.balance import add_squares
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.fixed_blocks import block_rows, sums_by_block, value_sums
from timbral.models.engine.gram import add_products
from timbral.models.engine.halves import SideName, solve_rows
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Side
from timbral.models.kernels.kernel import sources_digest
from timbral.models.kernels.threads import Threads

__all__ = ["ENTRY_ARRAYS", "Answer", "BlockTask", "Run", "block_name", "put_block", "put_rows", "solve"]

ENTRY_ARRAYS: Final = ("indptr", "indices", "confidence", "target")
"""Of each block; ``weight`` and ``l2`` are of all rows of a side together."""
OTHER: Final[dict[str, SideName]] = {"users": "items", "items": "users"}


@dataclass(frozen=True)
class BlockTask:
    """Rows ``start`` to ``stop`` of a side, which begin and end where blocks of ``fixed_blocks`` do; ``half`` counts
    the half-sweeps of a training. Plain JSON."""

    training: str
    half: int
    number: int
    side: SideName
    start: int
    stop: int
    step: float
    unobserved_target: float
    l1: float
    classic: bool
    code: str
    """What solves it, as ``sources_digest`` says: another version of timbral might give other bits."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """From what ``as_dict`` gave; ValueError or TypeError where it is none of it."""
        task = cls(**fields)
        if task.side not in get_args(SideName) or not 0 <= task.start < task.stop:
            raise ValueError(f"no rows of a side: {task}")
        return task

    @property
    def answer_name(self) -> str:
        """Of the file that the block's rows and sums are in."""
        return f"half{self.half}.block{self.number}"

    def __str__(self) -> str:
        return f"block {self.number} of half-sweep {self.half} (rows {self.start} to {self.stop} of the {self.side})"


Answer = dict[str, Any]
"""``half`` and ``number`` of the block that is done; ``error``, a text, where it failed."""

Run = Callable[[Sequence[BlockTask]], Iterable[Answer]]
"""All that an engine is: has the tasks done, in any order, anywhere, as often as it likes; gives their answers."""


def block_name(side: SideName, number: int, array: str) -> str:
    """Where an array of a block is in the store."""
    return f"{side}{number}.{array}"


def put_rows(store: BlockStore, name: SideName, side: Side) -> None:
    """Write what goes with each row of a side of the problem."""
    store.put(f"{name}.weight", side.weight)
    store.put(f"{name}.l2", side.l2)


def put_block(store: BlockStore, name: SideName, number: int, block: Side) -> None:
    """Write the entries of a block of rows."""
    for array in ENTRY_ARRAYS:
        owner = block.rows if array in ("indptr", "indices") else block
        store.put(block_name(name, number, array), np.ascontiguousarray(getattr(owner, array)))


def solve(task: BlockTask, store: BlockStore, n_threads: int) -> Answer:
    """Do the block, write its file, and say so; what goes wrong is an answer, too.

    It reads what the driver has written and writes a file of its own, the same bits whoever does it: done twice does
    no harm.
    """
    try:
        _solve(task, store, n_threads)
    except Exception as error:
        return {"half": task.half, "number": task.number, "error": f"{type(error).__name__}: {error}"}
    return {"half": task.half, "number": task.number}


def _solve(task: BlockTask, store: BlockStore, n_threads: int) -> None:
    if task.code != sources_digest():
        raise TrainingError("its process has another version of timbral than the one that trains")
    side = _side(task, store)
    fixed = Fixed(
        store.get_near(f"half{task.half}.fixed"),
        np.ascontiguousarray(store.get(f"{OTHER[task.side]}.weight")),
        np.array(store.get(f"half{task.half}.gram")),
        np.array(store.get(f"half{task.half}.pull")),
    )
    start = np.array(store.get(f"half{task.half}.start")[task.start : task.stop])
    n, k = start.shape
    out, rows = np.empty_like(start), block_rows(len(store.get(f"{task.side}.l2")))
    with Threads(n_threads) as threads:
        loss = solve_rows(side, fixed, start, out, task.step, l1=task.l1, classic=task.classic, threads=threads)
        arrays = {
            "rows": out,
            "loss": value_sums(loss, rows, threads),
            "squares": sums_by_block(n, rows, (2, k), add_squares(side.l2, out), threads),
        }
        if task.side == "users":
            arrays["products"] = sums_by_block(n, rows, (k + 1, k), add_products(out, side.weight), threads)
    store.put_all(task.answer_name, arrays)


def _side(task: BlockTask, store: BlockStore) -> Side:
    arrays = {name: store.get(block_name(task.side, task.number, name)) for name in ENTRY_ARRAYS}
    weight, l2 = (store.get(f"{task.side}.{name}")[task.start : task.stop] for name in ("weight", "l2"))
    n_columns = len(store.get(f"{OTHER[task.side]}.l2"))
    values = cast("Any", arrays["confidence"])  # the kernels read confidence and target, never the values
    rows = SparseRows(arrays["indptr"], arrays["indices"], values, n_columns)
    return Side(rows, arrays["confidence"], arrays["target"], task.unobserved_target, weight, l2)
