"""What a training minimises, and how the values of the data enter it.

Σ_observed c·(r − ŷ)² + Σ_not observed α₀·s_i·ŷ² + Σ_u λ_u |w_u|² + Σ_i λ_i |h_i|² + 2·l1·(Σ W + Σ H),    W, H ≥ 0
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError

__all__ = ["Objective", "Target"]

Target = Literal["one", "log", "value"]

Vector = npt.NDArray[np.float32]

_LIMITS: Final = {
    "unobserved_weight": (0.0, 1.0),
    "confidence": (0.0, 1e6),
    "regularization": (0.0, 1e6),
    "regularization_exponent": (0.0, 2.0),
    "l1_regularization": (0.0, 1e6),
}


@dataclass(frozen=True)
class Objective:
    """The options of the objective.

    unobserved_weight: α₀, the weight of a (user, item) that was not observed; an observed one weighs c ≥ 1.
    confidence: how much an entry's weight grows with its value x: c = 1 + confidence · log1p(x).
    target: what ŷ is to be where x was observed: 1 ("one"), log1p(x) ("log"), or x itself ("value").
    regularization: λ; a row's own is λ · (its entries + α₀ · the other side's rows) ** regularization_exponent.
        (Rendle, Krichene, Zhang, Koren: "Revisiting the Performance of iALS on Item Recommendation Benchmarks", 2021.)
    l1_regularization: of all factors.
    """

    unobserved_weight: float = 0.1
    confidence: float = 1.0
    target: Target = "one"
    regularization: float = 0.03
    regularization_exponent: float = 1.0
    l1_regularization: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
                raise ParameterError(f"{name} must be a number, got {value!r}")
            if not low <= value <= high:  # NaN too
                raise ParameterError(f"{name} must be in [{low:g}, {high:g}], got {value!r}")
            object.__setattr__(self, name, float(value))
        if self.target not in get_args(Target):
            raise ParameterError(f"target must be one of {get_args(Target)}, got {self.target!r}")

    @property
    def is_classic(self) -> bool:
        """Every cell weighs the same: the observed ones need no treatment of their own."""
        return self.unobserved_weight == 1.0 and self.confidence == 0.0

    def confidence_of(self, values: Vector) -> Vector:
        """c of each value, float32."""
        if self.confidence == 0.0:
            return np.ones_like(values)
        return np.asarray(1.0 + np.float32(self.confidence) * np.log1p(values), dtype=np.float32)

    def target_of(self, values: Vector) -> Vector:
        """r of each value, float32."""
        if self.target == "one":
            return np.ones_like(values)
        return np.log1p(values) if self.target == "log" else values

    def l2_of(self, n_entries: npt.NDArray[np.int64], n_others: int) -> Vector:
        """λ of rows that have ``n_entries`` entries each among ``n_others`` columns."""
        if self.regularization == 0.0:
            return np.zeros(len(n_entries), dtype=np.float32)
        size = n_entries + self.unobserved_weight * n_others
        if not math.isfinite(self.regularization_exponent):
            raise ParameterError("regularization_exponent must be finite")
        return np.asarray(self.regularization * size**self.regularization_exponent, dtype=np.float32)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> Self:
        """From what ``as_dict`` gave; unknown names are refused."""
        unknown = set(options) - {field.name for field in fields(cls)}
        if unknown:
            raise ParameterError(f"unknown options {sorted(unknown)}")
        return cls(**options)
