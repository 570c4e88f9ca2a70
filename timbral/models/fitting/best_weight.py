"""Which weight is best, told from how well each serves the judged users: where the curve is flat, its highest point is
chance."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["highest", "mean_best"]

RESAMPLES: Final = 60
"""Draws of as many users as were judged, with replacement. (Breiman: "Bagging Predictors", 1996.)"""

NONE: Final = 0.75
"""Of the resamples: where so many have no weight as the best one, it is none."""

Quality = npt.NDArray[np.float64]


def highest(values: tuple[float, ...], quality: dict[int, float], best: int) -> float:
    """Where a parabola through the best place and those beside it is highest, by the logarithm of the values; the value
    there where no two places are beside it."""
    if not {best - 1, best + 1} <= quality.keys():
        return values[best]
    low, middle, high = (quality[place] for place in (best - 1, best, best + 1))
    bend = low - 2.0 * middle + high
    shift = 0.5 * (low - high) / bend if bend < 0.0 else 0.0  # at most half a place: the middle is the highest
    beside = values[best + 1] if shift > 0.0 else values[best - 1]
    return float(values[best] * (beside / values[best]) ** abs(shift))


def mean_best(weights: tuple[float, ...], judged: Quality, rng: np.random.Generator) -> float:
    """The geometric mean, over resamples of the users of ``judged`` (n_users, weights), of the best weight; ``weights``
    begin with 0, which counts as half the least of the others, and comes out where nearly all resamples have it."""
    n_users = len(judged)
    draws = rng.multinomial(n_users, np.full(n_users, 1.0 / n_users), RESAMPLES)
    resampled = np.einsum("ru,uw->rw", draws, judged)  # in one order on any number of threads, unlike a BLAS product
    best = np.array([_best(weights, quality) for quality in resampled])
    none = best == 0.0
    if none.mean() > NONE:
        return 0.0
    return float(np.exp(np.log(np.where(none, weights[1] / 2.0, best)).mean()))


def _best(weights: tuple[float, ...], quality: Quality) -> float:
    best = int(np.argmax(quality))
    above_none = {place: float(quality[place]) for place in range(1, len(weights))}  # of 0, no logarithm
    return 0.0 if best == 0 else highest(weights, above_none, best)
