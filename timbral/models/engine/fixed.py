"""The side that a half-sweep leaves alone, and the sums over its rows that every row of the other side needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from timbral.models.engine.fixed_blocks import sum_of_rows
from timbral.models.engine.gram import add_products, gram_of
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
        n, k = factors.shape
        products = sum_of_rows(n, (k + 1, k), add_products(factors, weight), threads)
        return cls.with_products(factors, weight, unobserved_target, products)

    @classmethod
    def with_products(
        cls, factors: Vector, weight: Vector, unobserved_target: float, products: npt.NDArray[np.float64]
    ) -> Self:
        """Where the sums over the rows are known already, (k + 1, k) as ``gram.add_products`` has them."""
        gram, total = gram_of(products)
        return cls(factors, weight, gram.astype(np.float32), (unobserved_target * total).astype(np.float32))
