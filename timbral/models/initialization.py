"""Where a training starts: small random factors, from one seed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.models.factorization import Factors

__all__ = ["start_factors"]

CUT: Final = 1.0
MEAN_ABOVE_CUT: Final = 0.16663  # of max(|x| − 1, 0) for a normal x


def start_factors(n_users: int, n_items: int, n_components: int, typical: float, seed: int) -> Factors:
    """Random factors, two thirds of them 0, such that ŷ is a tenth of ``typical`` in the mean.

    Too large a start is slow to unlearn. The factors end up sparse, and a start that is sparse too makes the first sweeps cheap, and no
    worse models.
    """
    rng = np.random.default_rng(seed)
    mean = math.sqrt(0.1 * typical / n_components)
    user = _cut_normal(rng, (n_users, n_components), mean)
    return Factors(user, _cut_normal(rng, (n_items, n_components), mean))


def _cut_normal(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> npt.NDArray[np.float32]:
    drawn = rng.standard_normal(shape, dtype=np.float32)
    np.abs(drawn, out=drawn)
    drawn -= np.float32(CUT)
    np.maximum(drawn, 0, out=drawn)
    drawn *= np.float32(mean / MEAN_ABOVE_CUT)
    return drawn
