"""What a training minimises, as options.

    Σ_observed c·(r − ŷ)² + Σ_not observed α₀·s_i·(μ − ŷ)² + Σ_u λ_u |w_u|² + Σ_i λ_i |h_i|² + 2·l1·(Σ W + Σ H),    W, H
    ≥ 0

``timbral.models.engine.weighting`` has what the options come to on a data set.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, Self, get_args

from timbral.errors import ParameterError
from timbral.models.checks import check_real

__all__ = ["UNOBSERVED_SHARE", "Objective", "Target"]

Target = Literal["one", "log", "value"]

UNOBSERVED_SHARE: Final = 10.0
"""Where ``unobserved_weight`` is None: what was not observed weighs this many times what was, but no cell more than an
observed one."""

UNOBSERVED_TARGET: Final = 0.5
"""Where ``unobserved_target`` is None, and what was observed aims at 1."""

_LIMITS: Final = {
    "unobserved_weight": (0.0, 1.0),
    "unobserved_target": (0.0, 1e6),
    "popularity_exponent": (0.0, 1.0),
    "confidence": (0.0, 1e6),
    "regularization": (0.0, 1e6),
    "regularization_exponent": (0.0, 2.0),
    "l1_regularization": (0.0, 1e6),
}


_CHOSEN: Final = {"unobserved_weight", "unobserved_target", "regularization"}
"""None has the data, or the other options, decide."""


@dataclass(frozen=True)
class Objective:
    """The options of the objective. The defaults were chosen together, on several data sets.

    unobserved_weight: α₀, the mean weight of a (user, item) that was not observed; an observed one weighs 1 in the
        mean. None chooses it by the density of the data: ``UNOBSERVED_SHARE`` · density, at most 1.
    unobserved_target: μ, what ŷ is to be where nothing was observed, of a user and an item that have entries elsewhere.
        Factors that cannot be negative can only add to a score; where a user is sure not to care, the score can fall
        below μ, but nothing falls below 0. So μ > 0 lets few factors tell apart what signed ones can. None means a half
        where the target is "one"; else 0.
    popularity_exponent: s_i grows with the item's users to this power: that nobody played a popular item says more than
        that nobody played a rare one. (He, Zhang, Kan, Chua: "Fast Matrix Factorization for Online Recommendation with
        Implicit Feedback", 2016.) s has the mean 1, and α₀·s_i stays ≤ 1, so that s is 1 where α₀ is 1.
    confidence: how much an entry's weight c grows with the logarithm l = log1p(x) of its value x, against the user's
        mean of it (x in units of the median, where that is below 1): c = (1 + confidence · l / mean of l) / (1 +
        confidence). 0 is unit confidence, c = 1.
    target: what ŷ is to be where x was observed: 1 ("one"), log1p(x) ("log"), or x itself ("value"). None means "one",
        but "value" where confidence is 0: then the values would count for nothing.
    regularization: κ, against the noise of the data: κ = 1 suppresses a factor that is as weak as pure noise of the
        data's density makes them, σ = rms(c·(r − μ)) · (√(mean entries a user) + √(mean entries an item)). λ is κ·σ in
        the mean of the users, and of the items. None has it tried on a part of the data: see
        ``timbral.models.fitting.choice``.
    regularization_exponent: ν, how λ_u grows with the user's entries, and λ_i with the item's: λ ∝ (1 + entries)^ν.
        (Rendle, Krichene, Zhang, Koren: "Revisiting the Performance of iALS on Item Recommendation Benchmarks", 2021.)
        A row's noise grows
            as its square root.
    l1_regularization: of all factors.
    """

    unobserved_weight: float | None = None
    unobserved_target: float | None = None
    popularity_exponent: float = 0.3
    confidence: float = 1.0
    target: Target | None = None
    regularization: float | None = None
    regularization_exponent: float = 0.55
    l1_regularization: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None or name not in _CHOSEN:
                object.__setattr__(self, name, check_real(value, name, low, high))
        if self.target is not None and self.target not in get_args(Target):
            raise ParameterError(f"target must be one of {list(get_args(Target))} or None, got {self.target!r}")

    @property
    def resolved_target(self) -> Target:
        """``target``, or what None means."""
        return self.target or ("value" if self.confidence == 0.0 else "one")

    def resolved(self) -> Self:
        """With an ``unobserved_target``, also where it is None."""
        if self.unobserved_target is not None:
            return self
        return replace(self, unobserved_target=UNOBSERVED_TARGET if self.resolved_target == "one" else 0.0)

    @property
    def is_classic(self) -> bool:
        """Every cell weighs the same: the observed ones need no treatment of their own."""
        return self.unobserved_weight == 1.0 and self.confidence == 0.0 and self.resolved().unobserved_target == 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> Self:
        """From what ``as_dict`` gave; unknown names are refused."""
        unknown = set(options) - {field.name for field in fields(cls)}
        if unknown:
            raise ParameterError(f"unknown options {sorted(unknown)}")
        return cls(**options)
