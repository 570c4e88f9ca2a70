"""Where a training starts: small random factors, from one seed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.models.engine.factorization import Factors

__all__ = ["start_factors"]

FILLED: Final = 1 / 3
"""Share of a start's factors that are not 0."""


def start_factors(n_users: int, n_items: int, n_components: int, typical: float, seed: int) -> Factors:
    """Random factors, two thirds of them 0, such that ŷ is a tenth of ``typical`` in the mean.

    Too large a start is slow to unlearn, and zeros set the factors apart from each other.
    """
    rng = np.random.default_rng(seed)
    mean = math.sqrt(0.1 * typical / n_components)
    user = _cut_uniform(rng, (n_users, n_components), mean)
    return Factors(user, _cut_uniform(rng, (n_items, n_components), mean))


def _cut_uniform(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> npt.NDArray[np.float32]:
    drawn = rng.random(shape, dtype=np.float32)
    drawn -= np.float32(1.0 - FILLED)
    np.maximum(drawn, 0, out=drawn)
    drawn *= np.float32(mean / (FILLED**2 / 2))
    return drawn
