"""From interactions to a model: the choices that the data make, the start, the sweeps, the neighbours, and a look at
what came out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from timbral.errors import TrainingError
from timbral.models.engine.factorization import Callback, Factors, HalvesOf, factorize
from timbral.models.engine.halves import HalvesHere
from timbral.models.engine.objective import Objective
from timbral.models.engine.training_state import Checkpoints
from timbral.models.engine.weighting import Weighting
from timbral.models.fitting.choice import Choice, choose
from timbral.models.fitting.options import PartOptions
from timbral.models.fitting.recency import recency
from timbral.models.fitting.training_data import TrainingData
from timbral.models.fitting.warm_start import KnownFactors, warm_start
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.neighbors import Neighbors

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True)
class Fitted:
    """``recency`` (n_items,) float32 is already multiplied by its weight, as ``neighbors`` are; all zeros where there
    is no such part."""

    factors: Factors
    weighting: Weighting
    neighbors: Neighbors
    recency: npt.NDArray[np.float32]
    choice: Choice


def fit(
    objective: Objective,
    parts: PartOptions,
    data: TrainingData,
    *,
    n_components: int,
    seed: int,
    max_iter: int,
    tol: float,
    n_threads: int,
    callback: Callback | None,
    known: KnownFactors | None = None,
    checkpoints: Checkpoints | None = None,
    halves_of: HalvesOf = HalvesHere,
) -> Fitted:
    """Train on ``data``.

    Args:
        known: factors of an earlier model to start from.
        checkpoints: of this fit; where there are any, it goes on from there, with what it had chosen.
        halves_of: who does the half-sweeps.

    Raises:
        TrainingError: the loss or a factor is not finite, or the callback ended it.
    """
    objective = objective.resolved()
    sample, times = data.sample, data.sample_times
    chosen_before = None if checkpoints is None else checkpoints.chosen()
    if chosen_before is None:
        choice = choose(objective, parts, sample, times, n_components=n_components, seed=seed, n_threads=n_threads)
    else:
        choice = Choice.of(chosen_before)
    if checkpoints is not None:
        checkpoints.note_chosen(choice.numbers())
    chosen = replace(objective, regularization=choice.regularization)
    weighting = Weighting.measure(chosen, data.rows, data.item_counts)
    users, items = data.sides(weighting)
    l1, classic = objective.l1_regularization, objective.is_classic
    if known is None or chosen_before is not None:
        tried_on = None if choice.tried_on is None else data.marks(choice.tried_on)
        start = replace(choice, tried_on=tried_on).start(
            users.rows, items.rows, n_components, weighting.typical_target, seed
        )
    else:
        start = warm_start(
            known, users, items, l1=l1, classic=classic, n_threads=n_threads, fold_new_in=data.sides_hold_entries
        )
    factors = factorize(
        users, items, start, l1=l1, max_iter=max_iter, tol=tol, classic=classic, threads=Threads(n_threads),
        callback=callback, checkpoints=checkpoints, halves_of=halves_of,
    )  # fmt: skip
    if not (np.isfinite(factors.user).all() and np.isfinite(factors.item).all()):
        raise TrainingError("The training gave factors that are not finite; the values are too large for it")
    neighbors = Neighbors.none(sample.n_columns)
    if choice.neighbor_weight > 0.0:
        with Threads(n_threads) as threads:
            fitted = Neighbors.fit(
                sample, parts.n_neighbors, [choice.neighbor_regularization], seed, threads, parts.neighbor_play_exponent
            )[0]
        neighbors = fitted.times(choice.neighbor_weight)
    boost = np.zeros(sample.n_columns, np.float32)
    if times is not None and choice.recency_weight > 0.0:
        boost = np.float32(choice.recency_weight) * recency(sample, times)
    return Fitted(factors, weighting, neighbors, boost, choice)
