"""StoredHalves: half-sweeps that other processes do, block by block, to the same bits as this one would."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import BlockTask, Run, put_block, put_rows
from timbral.errors import TrainingError
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.fixed_blocks import added_in_order, block_rows
from timbral.models.engine.halves import Problem, SideName, Solved
from timbral.models.kernels.kernel import sources_digest
from timbral.models.kernels.threads import spans

__all__ = ["Blocks", "StoredHalves", "blocks_of"]

Vector = npt.NDArray[np.float32]
Blocks = list[tuple[int, int]]
"""The first row of each, and the one behind its last."""

ROW_COST: Final = 64.0
"""What a row costs beside its entries, in entries: about the number of factors."""


class StoredHalves:
    """The half-sweeps of ``problem``, with its arrays in ``store``, done by whoever ``run`` has do them.

    Args:
        n_blocks: about so many tasks for each half.
        blocks: the blocks of each side whose entries are in the store already; None where ``problem`` has them.
    """

    def __init__(
        self, problem: Problem, store: BlockStore, run: Run, n_blocks: int, blocks: dict[SideName, Blocks] | None = None
    ) -> None:
        self._problem = problem
        self._store = store
        self._run = run
        self._half = 0
        store.open()
        if blocks is None:
            store.remove("")  # of a fit before
            sides: tuple[SideName, ...] = ("users", "items")
            blocks = {name: blocks_of(problem.side(name).rows.indptr, n_blocks) for name in sides}
            for name in sides:
                for number, (start, stop) in enumerate(blocks[name]):
                    put_block(store, name, number, problem.side(name).part(start, stop))
        self._blocks = blocks
        put_rows(store, "users", problem.users)
        put_rows(store, "items", problem.items)

    def __call__(self, name: SideName, fixed: Fixed, start: Vector, out: Vector, step: float) -> Solved:
        self._half += 1
        half, store = f"half{self._half}", self._store
        for what, array in (
            ("fixed", fixed.factors),
            ("gram", fixed.gram),
            ("pull", fixed.pull),
            ("start", start),
        ):
            store.put(f"{half}.{what}", array)
        tasks = self._tasks(name, step)
        answers = self._answers(tasks)
        loss, squares = np.zeros(1), np.zeros((2, out.shape[1]))
        products = np.zeros((out.shape[1] + 1, out.shape[1])) if name == "users" else None
        for task in tasks:  # in their order, whatever they were done in
            arrays = answers.pop(task.number)
            out[task.start : task.stop] = arrays["rows"]
            added_in_order(arrays["loss"], loss)
            added_in_order(arrays["squares"], squares)
            if products is not None:
                added_in_order(arrays["products"], products)
        store.remove(f"{half}.")
        return Solved(float(loss[0]), squares, products)

    def _tasks(self, name: SideName, step: float) -> list[BlockTask]:
        problem = self._problem
        side = problem.side(name)
        return [
            BlockTask(
                training=self._store.folder.name,
                half=self._half,
                number=number,
                side=name,
                start=start,
                stop=stop,
                step=step,
                unobserved_target=side.unobserved_target,
                l1=problem.l1,
                classic=problem.classic,
                code=sources_digest(),
            )
            for number, (start, stop) in enumerate(self._blocks[name])
        ]

    def _answers(self, tasks: list[BlockTask]) -> dict[int, dict[str, Any]]:
        """What each task has written; an answer that comes twice, or late, counts once or not at all."""
        by_number = {task.number: task for task in tasks}
        found: dict[int, dict[str, Any]] = {}
        for answer in self._run(tasks):
            task = by_number.get(answer["number"])
            if task is None or answer["half"] != self._half or task.number in found:
                continue
            if "error" in answer:
                raise TrainingError(f"{task} failed: {answer['error']}")
            found[task.number] = self._store.get_all(task.answer_name)
        for task in tasks:
            if task.number not in found:
                raise TrainingError(f"{task} has no answer: the engine left it out")
        return found


def blocks_of(indptr: npt.NDArray[np.int64], n_blocks: int) -> Blocks:
    """About ``n_blocks`` spans of rows of about equal cost, whose edges are those of ``fixed_blocks``."""
    n_rows = len(indptr) - 1
    rows = block_rows(n_rows)
    edges = {0, n_rows}
    for start, _ in spans(indptr, ROW_COST, n_blocks):
        edges.add(min(round(start / rows) * rows, n_rows))
    ordered = sorted(edges)
    return list(itertools.pairwise(ordered))
