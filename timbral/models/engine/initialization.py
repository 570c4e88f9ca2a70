"""Where a training starts: small random factors, from one seed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.models.engine.factorization import Factors
from timbral.models.engine.sparse_rows import SparseRows

__all__ = ["start_factors"]

FILLED: Final = 1 / 3
"""Share of a start's factors that are not 0."""


def start_factors(users: SparseRows, items: SparseRows, n_components: int, typical: float, seed: int) -> Factors:
    """Random factors, two thirds of them 0, such that ŷ is a tenth of ``typical`` in the mean; all 0 of a row without
    entries, of ``users`` (users × items) and ``items`` (items × users) each.

    Too large a start is slow to unlearn, and zeros set the factors apart from each other. What nobody played, no sweep
    moves: it would
    keep its random start.
    """
    rng = np.random.default_rng(seed)
    mean = math.sqrt(0.1 * typical / n_components)
    user = _cut_uniform(rng, (users.n_rows, n_components), mean)
    item = _cut_uniform(rng, (items.n_rows, n_components), mean)
    user[np.diff(users.indptr) == 0] = 0.0
    item[np.diff(items.indptr) == 0] = 0.0
    return Factors(user, item)


def _cut_uniform(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> npt.NDArray[np.float32]:
    drawn = rng.random(shape, dtype=np.float32)
    drawn -= np.float32(1.0 - FILLED)
    np.maximum(drawn, 0, out=drawn)
    drawn *= np.float32(mean / (FILLED**2 / 2))
    return drawn
