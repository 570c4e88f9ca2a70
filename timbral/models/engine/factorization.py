"""The training itself: half-sweeps in turn over users and items, until the loss no longer falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from timbral.errors import TrainingError
from timbral.models.engine.balance import balance, squares
from timbral.models.engine.classic_descent import descend_classic
from timbral.models.engine.coordinate_descent import BUFFER_FLOATS, LANE, MIN_BLOCK, descend_weighted
from timbral.models.engine.extrapolation import StepSize, extrapolate
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.side_by_side import LANES, lane_lines
from timbral.models.engine.weighting import Side
from timbral.models.kernels.threads import Threads, spans

__all__ = ["Callback", "Factors", "factorize", "half_sweep"]

Callback = Callable[[int, int, float], Any]
"""``callback(iteration, max_iter, loss)`` after each sweep; False ends the training with a TrainingError, None goes
on."""

SPANS_PER_THREAD = 16

FIRST_SWEEPS = 2
"""Sweeps from their own start at first: far from a minimum, the way that a sweep went does not lead on."""

LEAST_GAIN = 1e-5
"""Of the loss: what balancing has to win to be worth a walk over all factors."""

Vector = npt.NDArray[np.float32]


@dataclass
class Factors:
    """What a training gives: ``user`` (n_users, k) and ``item`` (n_items, k), float32, C-contiguous; the loss after
    each sweep."""

    user: Vector
    item: Vector
    loss: list[float] = field(default_factory=list)
    converged: bool = False

    def copy(self) -> Factors:
        """The same factors, to start from."""
        return Factors(self.user.copy(), self.item.copy())


@dataclass
class _Scratch:
    """What a thread works in: made once for all of its spans, since new memory costs more than the work on a short
    span."""

    rows: Vector
    entry: Vector
    lanes: Vector

    @classmethod
    def of(cls, k: int, entry_rows: int, longest: int) -> Self:
        shapes = (3, k), (entry_rows, longest), (lane_lines(k), LANES)
        return cls(*(np.empty(shape, dtype=np.float32) for shape in shapes))


def half_sweep(
    side: Side,
    fixed: Fixed,
    solved: Vector,
    *,
    l1: float,
    n_passes: int,
    tol: float,
    classic: bool,
    threads: Threads,
) -> tuple[float, int]:
    """Improve ``solved`` (rows of ``side``) in place, ``fixed`` being fixed; returns the loss without ``fixed``'s
    regularisation."""
    rows = side.rows
    k = fixed.factors.shape[1]
    loss = np.empty(rows.n_rows)
    passes = np.empty(rows.n_rows, dtype=np.int64)
    longest = -(-max(1, int(np.diff(rows.indptr).max(initial=0))) // LANE) * LANE
    entry_rows = 3 + max(MIN_BLOCK, -(-BUFFER_FLOATS // longest))

    idle: list[_Scratch] = []

    def descend(start: int, stop: int) -> None:
        try:
            own = idle.pop()
        except IndexError:
            own = _Scratch.of(k, entry_rows, longest)
        if classic:
            descend_classic(
                rows.indptr, rows.indices, side.target, side.l2, l1, fixed.factors, fixed.gram, n_passes, tol, start,
                stop, solved,
                loss, passes, own.rows[0], own.rows[1],
            )  # fmt: skip
        else:
            descend_weighted(
                rows.indptr, rows.indices, side.confidence, side.target, side.unobserved_target, side.weight,
                fixed.weight, side.l2,
                l1, fixed.factors, fixed.gram, fixed.pull, n_passes, tol, start, stop, solved, loss, passes, own.rows,
                own.entry,
                own.lanes,
            )  # fmt: skip
        idle.append(own)

    threads.run(descend, spans(rows.indptr, k, SPANS_PER_THREAD * threads.n_threads))
    return math.fsum(loss), int(passes.sum())


def factorize(
    users: Side,
    items: Side,
    factors: Factors,
    *,
    l1: float,
    max_iter: int,
    tol: float,
    classic: bool = False,
    threads: Threads,
    callback: Callback | None = None,
) -> Factors:
    """Train ``factors`` in place, from where they stand, for at most ``max_iter`` sweeps.

    ``factors.loss`` gets the loss after each sweep that lowered it. The factors that come back are those of the last
    loss.
    """
    user, item = factors.user, factors.item
    last_item = item.copy()
    new_user, new_item = np.empty_like(user), np.empty_like(item)
    mu = users.unobserved_target
    beyond = mu**2 * float(users.weight.sum(dtype=np.float64)) * float(items.weight.sum(dtype=np.float64))
    size = StepSize()
    step = 0.0  # the first sweep has no way to go on
    sweep = partial(half_sweep, l1=l1, n_passes=1, tol=0.0, classic=classic, threads=threads)
    with threads:
        for iteration in range(1, max_iter + 1):
            extrapolate(last_item, item, new_item, step, threads)
            np.copyto(new_user, user)
            sweep(users, Fixed.of(new_item, items.weight, mu, threads), new_user)
            extrapolate(user, new_user, new_user, step, threads)
            loss, _ = sweep(items, Fixed.of(new_user, users.weight, mu, threads), new_item)
            user_squares = squares(users.l2, new_user)
            loss += beyond + float(user_squares.sum())
            loss += 2 * l1 * float(new_user.sum(dtype=np.float64))
            if loss < 0.0:  # of a fit that is nearly perfect, rounding is what is left
                loss = 0.0
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss became {loss} in sweep {iteration}: the values are too large for this training"
                )
            if factors.loss and loss > factors.loss[-1] and step > 0.0:
                size.shrink()
                step = 0.0
                continue
            if l1 == 0.0:
                scale, gain = balance(user_squares, squares(items.l2, new_item))
                if gain > LEAST_GAIN * loss:
                    loss -= gain
                    for side in (user, new_user):
                        side *= scale.astype(np.float32)
                    for side in (item, new_item):
                        side *= (1.0 / scale).astype(np.float32)
            fall = factors.loss[-1] - loss if factors.loss else math.inf
            user, new_user = new_user, user
            last_item, item, new_item = item, new_item, last_item
            factors.user, factors.item = user, item
            factors.loss.append(loss)
            answer = None if callback is None else callback(iteration, max_iter, loss)
            if isinstance(answer, bool | np.bool_) and not answer:
                raise TrainingError(f"The training was cancelled in sweep {iteration} of at most {max_iter}")
            if fall < 2.0 * tol * abs(loss + fall):  # to first order, tol of the root
                if step == 0.0:
                    factors.converged = True
                    break
                step = 0.0  # only a sweep without a step tells that there is nothing left to gain
                continue
            if step > 0.0:
                size.grow()
            step = size.step if iteration >= FIRST_SWEEPS else 0.0
    return factors
