"""The training itself: half-sweeps in turn over users and items, until the loss no longer falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import TrainingError
from timbral.models.engine.balance import balance
from timbral.models.engine.extrapolation import extrapolate
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.halves import Halves, HalvesHere, Problem
from timbral.models.engine.training_state import Checkpoints, TrainingState
from timbral.models.engine.weighting import Side
from timbral.models.kernels.threads import Threads

__all__ = ["Callback", "Factors", "HalvesOf", "factorize"]

Callback = Callable[[int, int, float], Any]
"""``callback(iteration, max_iter, loss)`` after each sweep; False ends the training with a TrainingError, None goes
on."""

HalvesOf = Callable[[Problem, Threads], Halves]
"""Who does the half-sweeps of a problem."""

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
    checkpoints: Checkpoints | None = None,
    halves_of: HalvesOf = HalvesHere,
) -> Factors:
    """Train ``factors`` in place, from where they stand, for at most ``max_iter`` sweeps.

    ``factors.loss`` gets the loss after each sweep that lowered it. The factors that come back are those of the last
    loss.

    Args:
        checkpoints: where it goes on from, if this fit was cut off before; else it starts from ``factors``.
        halves_of: who does the half-sweeps; the bits are the same whoever does.
    """
    state = (checkpoints and checkpoints.load()) or TrainingState.of_start(factors.user, factors.item)
    with threads:
        sweep = _Sweeps(Problem(users, items, l1, classic), state, threads, halves_of)
        while not state.converged and state.iteration < max_iter:
            fell = sweep.next()
            if fell is not None:
                answer = None if callback is None else callback(state.iteration, max_iter, state.loss[-1])
                if isinstance(answer, bool | np.bool_) and not answer:
                    raise TrainingError(f"The training was cancelled in sweep {state.iteration} of at most {max_iter}")
                of_root = 2.0 * tol  # to first order, tol of the root
                _choose_step(state, small=fell < of_root * abs(state.loss[-1] + fell))
            if checkpoints is not None:
                checkpoints.offer(state, last=state.converged or state.iteration == max_iter)
    factors.user, factors.item = state.user, state.item
    factors.loss, factors.converged = state.loss, state.converged
    return factors


def _choose_step(state: TrainingState, *, small: bool) -> None:
    """How far the next sweep goes on, after one that lowered the loss, if only by a ``small`` part."""
    if small and state.step == 0.0:
        state.converged = True
    elif small:
        state.step = 0.0  # only a sweep without a step tells that there is nothing left to gain
    else:
        if state.step > 0.0:
            state.size.grow()
        state.step = state.size.step if state.iteration >= FIRST_SWEEPS else 0.0


class _Sweeps:
    """Moves ``state`` on, a sweep at a time."""

    def __init__(self, problem: Problem, state: TrainingState, threads: Threads, halves_of: HalvesOf) -> None:
        self._problem = problem
        self._state = state
        self._threads = threads
        self._half = halves_of(problem, threads)
        self._new_user, self._new_item = np.empty_like(state.user), np.empty_like(state.item)
        self._mu = problem.users.unobserved_target
        weights = (float(side.weight.sum(dtype=np.float64)) for side in (problem.users, problem.items))
        self._beyond = self._mu**2 * math.prod(weights)

    def next(self) -> float | None:
        """By how much the loss fell (infinite at first); None where the sweep was given up.

        Raises:
            TrainingError: the loss is not finite.
        """
        state, problem, threads = self._state, self._problem, self._threads
        state.iteration += 1
        user, item = self._new_user, self._new_item
        extrapolate(state.last_item, state.item, item, state.step, threads)
        users = self._half(
            "users", Fixed.of(item, problem.items.weight, self._mu, threads), state.user, user, state.step
        )
        assert users.products is not None  # noqa: S101 - for the type checker
        fixed = Fixed.with_products(user, problem.users.weight, self._mu, users.products)
        items = self._half("items", fixed, item, item, 0.0)
        loss = items.loss + self._beyond + float(users.squares[0].sum())
        loss += 2 * problem.l1 * float(users.squares[1].sum())
        if loss < 0.0:  # of a fit that is nearly perfect, rounding is what is left
            loss = 0.0
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} in sweep {state.iteration}: the values are too large for this training"
            )
        if state.loss and loss > state.loss[-1] and state.step > 0.0:
            state.size.shrink()
            state.step = 0.0
            return None
        if problem.l1 == 0.0:
            scale, gain = balance(users.squares[0], items.squares[0])
            if gain > LEAST_GAIN * loss:
                loss -= gain
                for factors in (state.user, user):
                    factors *= scale.astype(np.float32)
                for factors in (state.item, item):
                    factors *= (1.0 / scale).astype(np.float32)
        fall = state.loss[-1] - loss if state.loss else math.inf
        state.user, self._new_user = user, state.user
        state.last_item, state.item, self._new_item = state.item, item, state.last_item
        state.loss.append(loss)
        return fall
