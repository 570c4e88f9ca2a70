"""What a sweep asks for twice, users and then items, and the way it is done in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from timbral.models.engine.balance import add_squares
from timbral.models.engine.extrapolation import extrapolate
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.fixed_blocks import sum_of_rows, sum_of_values
from timbral.models.engine.gram import add_products
from timbral.models.engine.half_sweep import half_sweep
from timbral.models.engine.weighting import Side
from timbral.models.kernels.threads import Threads

__all__ = ["Halves", "HalvesHere", "Problem", "SideName", "Solved", "solve_rows"]

Vector = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]
SideName = Literal["users", "items"]


@dataclass(frozen=True)
class Problem:
    """What is minimised: both sides, the same for all sweeps."""

    users: Side
    items: Side
    l1: float
    classic: bool

    def side(self, name: SideName) -> Side:
        return self.users if name == "users" else self.items


@dataclass(frozen=True)
class Solved:
    """What half a sweep sums up to, over all rows of its side; all float64."""

    loss: float
    """With the old factors' way not yet gone on, and without the fixed side's regularisation."""
    squares: Sums
    """(2, k): see ``balance.squares``."""
    products: Sums | None
    """(k + 1, k): see ``gram.add_products``. Of users alone: items are moved on before they are fixed."""


class Halves(Protocol):
    """Something that does half a sweep: with threads here, or with other processes and hosts, to the same bits."""

    def __call__(self, name: SideName, fixed: Fixed, start: Vector, out: Vector, step: float) -> Solved:
        """``out`` gets the rows of the side ``name``, improved from ``start`` (which may be ``out``) and moved on by
        ``step`` times their way."""


def solve_rows(
    side: Side, fixed: Fixed, start: Vector, out: Vector, step: float, *, l1: float, classic: bool, threads: Threads
) -> npt.NDArray[np.float64]:
    """Half a sweep over all rows of ``side``, or of a part of a side; the loss of each row."""
    if out is not start:
        np.copyto(out, start)
    loss, _ = half_sweep(side, fixed, out, l1=l1, n_passes=1, tol=0.0, classic=classic, threads=threads)
    if step > 0.0:
        extrapolate(start, out, out, step, threads)
    return loss


class HalvesHere:
    """In this process, on ``threads``."""

    def __init__(self, problem: Problem, threads: Threads) -> None:
        self._problem = problem
        self._threads = threads

    def __call__(self, name: SideName, fixed: Fixed, start: Vector, out: Vector, step: float) -> Solved:
        problem, threads, side = self._problem, self._threads, self._problem.side(name)
        loss = solve_rows(side, fixed, start, out, step, l1=problem.l1, classic=problem.classic, threads=threads)
        n, k = out.shape
        return Solved(
            sum_of_values(loss, threads),
            sum_of_rows(n, (2, k), add_squares(side.l2, out), threads),
            sum_of_rows(n, (k + 1, k), add_products(out, side.weight), threads) if name == "users" else None,
        )
