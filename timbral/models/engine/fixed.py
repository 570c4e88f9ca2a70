"""The side that a half-sweep leaves alone, and the sums over its rows that every row of the other side needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from timbral.models.engine.gram import gram
from timbral.models.kernels.threads import Threads

__all__ = ["Fixed"]

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fixed:
    """``factors`` (n, k) and ``weight`` (n,) of the fixed rows, float32."""

    factors: Vector
    weight: Vector
    gram: Vector
    """Σ_j weight_j · h_j h_jᵀ, (k, k)."""
    pull: Vector
    """μ · Σ_j weight_j · h_j, (k,): how the cells that were not observed, all aiming at μ, pull at a row."""

    @classmethod
    def of(cls, factors: Vector, weight: Vector, unobserved_target: float, threads: Threads) -> Self:
        products, total = gram(factors, weight, threads)
        return cls(factors, weight, products.astype(np.float32), (unobserved_target * total).astype(np.float32))
