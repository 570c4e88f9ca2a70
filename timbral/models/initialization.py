"""Where a training starts: small random factors, from one seed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from timbral.models.factorization import Factors

__all__ = ["start_factors"]


def start_factors(n_users: int, n_items: int, n_components: int, typical: float, seed: int) -> Factors:
    """Half-normal factors, such that ŷ is a tenth of ``typical`` in the mean: too large a start is slow to unlearn."""
    rng = np.random.default_rng(seed)
    # The mean of a half-normal is σ·√(2/π), so that of a product of two is σ²·2/π.
    scale = np.float32(math.sqrt(0.1 * typical / n_components * math.pi / 2))
    user = _half_normal(rng, (n_users, n_components), scale)
    return Factors(user, _half_normal(rng, (n_items, n_components), scale))


def _half_normal(rng: np.random.Generator, shape: tuple[int, int], scale: np.float32) -> npt.NDArray[np.float32]:
    drawn = rng.standard_normal(shape, dtype=np.float32)
    np.abs(drawn, out=drawn)
    drawn *= scale
    return drawn
