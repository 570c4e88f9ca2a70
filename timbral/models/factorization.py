"""The training itself: half-sweeps in turn over users and items, until the loss no longer falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import TrainingError
from timbral.models.coordinate_descent import BUFFER_FLOATS, LANE, MIN_BLOCK, descend_classic, descend_weighted
from timbral.models.gram import gram
from timbral.models.threads import Threads, spans
from timbral.models.weighting import Side

__all__ = ["Callback", "Factors", "factorize", "half_sweep"]

Callback = Callable[[int, int, float], Any]
"""``callback(iteration, max_iter, loss)`` after each sweep; False ends the training with a TrainingError, None goes on."""

SPANS_PER_THREAD = 16

Vector = npt.NDArray[np.float32]


@dataclass
class Factors:
    """What a training gives: ``user`` (n_users, k) and ``item`` (n_items, k), float32, C-contiguous; the loss after each sweep."""

    user: Vector
    item: Vector
    loss: list[float] = field(default_factory=list)
    converged: bool = False


def half_sweep(
    side: Side,
    fixed: Vector,
    fixed_weight: Vector,
    fixed_gram: Vector,
    solved: Vector,
    *,
    l1: float,
    n_passes: int,
    tol: float,
    classic: bool,
    want_loss: bool = True,
    threads: Threads,
) -> tuple[float, int]:
    """Improve ``solved`` (rows of ``side``) in place, ``fixed`` being fixed; gives the loss without ``fixed``'s regularisation."""
    rows = side.rows
    k = fixed.shape[1]
    loss = np.empty(rows.n_rows)
    passes = np.empty(rows.n_rows, dtype=np.int64)
    longest = -(-max(1, int(np.diff(rows.indptr).max(initial=0))) // LANE) * LANE
    diagonal = fixed_gram.diagonal().copy()
    entry_rows = 2 + max(MIN_BLOCK, -(-BUFFER_FLOATS // longest))

    def descend(start: int, stop: int) -> None:
        scratch = np.empty((2, k), dtype=np.float32)
        if classic:
            descend_classic(
                rows.indptr, rows.indices, side.target, side.l2, l1, fixed, fixed_gram, n_passes, tol, start, stop, solved,
                loss, passes, scratch[0], scratch[1],
            )  # fmt: skip
        else:
            entry = np.empty((entry_rows, longest), dtype=np.float32)
            descend_weighted(
                rows.indptr, rows.indices, side.confidence, side.target, side.weight, fixed_weight, side.l2, l1, fixed,
                fixed_gram, diagonal, n_passes, tol, want_loss, start, stop, solved, loss, passes, scratch, entry,
            )  # fmt: skip

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
    n_passes: int = 1,
    classic: bool = False,
    threads: Threads,
    callback: Callback | None = None,
) -> Factors:
    """Train ``factors`` in place, from where they stand, for at most ``max_iter`` sweeps."""
    with threads:
        for iteration in range(1, max_iter + 1):
            item_gram = gram(factors.item, items.weight, threads).astype(np.float32)
            half_sweep(
                users, factors.item, items.weight, item_gram, factors.user,
                l1=l1, n_passes=n_passes, tol=0.0, classic=classic, want_loss=False, threads=threads,
            )  # fmt: skip
            user_gram = gram(factors.user, users.weight, threads).astype(np.float32)
            loss, _ = half_sweep(
                items, factors.user, users.weight, user_gram, factors.item,
                l1=l1, n_passes=n_passes, tol=0.0, classic=classic, threads=threads,
            )  # fmt: skip
            loss += float(users.l2 @ np.einsum("uf,uf->u", factors.user, factors.user))
            loss += 2 * l1 * float(factors.user.sum(dtype=np.float64))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss became {loss} in sweep {iteration}: the values are too large for this training"
                )
            factors.loss.append(loss)
            if callback is not None and callback(iteration, max_iter, loss) is False:
                raise TrainingError(f"The training was cancelled in sweep {iteration} of at most {max_iter}")
            if len(factors.loss) > 1 and factors.loss[-2] - loss < tol * abs(factors.loss[-2]):
                factors.converged = True
                break
    return factors
