"""What is searched: the arguments of NMFModel that a data set's lists depend on, and between which values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import Trial

from timbral.models.nmf_model import NMFModel

__all__ = ["Space"]

LARGEST_SHARE: Final = 1.5
"""Of the factors of the defaults: with neighbours beside them more add little, and a training's time grows with
them."""

FURTHER_STARTS: Final = (0.3, 2.0)
"""Weights of the neighbours that are tried early: what they are worth differs most from data set to data set."""

FLOATS: Final = {
    "regularization": (0.08, 1.6, True),
    "unobserved_target": (0.15, 0.95, False),
    "popularity_exponent": (0.0, 0.8, False),
    "confidence": (0.1, 10.0, True),
    "regularization_exponent": (0.2, 1.0, False),
    "neighbor_weight": (0.01, 40.0, True),
    "neighbor_regularization": (0.2, 15.0, True),
}
"""By argument: from, to, and whether by factors or by steps."""

RECENCY: Final = (0.003, 5.0, True)

UNOBSERVED_AROUND: Final = 6.0
"""α₀ is searched up to so many times, and down to so small a share of, what the density of the data gives."""

N_NEAR: Final = 16
NEAR: Final = 0.15
"""Settings near the defaults that are tried before the sampler proposes any, and the standard deviation of each, in
lengths of its range. The defaults are good on most data, and what is better lies near more often than far: ten
settings drawn from all of their ranges at once are nearly always worse."""


@dataclass(frozen=True)
class Space:
    """``distributions`` by argument of NMFModel, and the ``defaults`` in them: what NMFModel uses by itself."""

    distributions: dict[str, BaseDistribution]
    defaults: dict[str, Any]

    @classmethod
    def around(cls, fitted: NMFModel, *, with_times: bool) -> Self:
        """The space around a model that was fitted with the defaults.

        Args:
            with_times: whether there is a recency part to weigh.
        """
        k, alpha = fitted.n_components, fitted.unobserved_weight_
        distributions: dict[str, BaseDistribution] = {
            "n_components": IntDistribution(max(1, k // 4), max(2, int(k * LARGEST_SHARE)), log=True),
            "n_neighbors": IntDistribution(30, 300, log=True),
            "unobserved_weight": FloatDistribution(
                alpha / UNOBSERVED_AROUND, min(1.0, alpha * UNOBSERVED_AROUND), log=True
            ),
        }
        floats = FLOATS | ({"recency_weight": RECENCY} if with_times else {})
        distributions |= {name: FloatDistribution(low, high, log=log) for name, (low, high, log) in floats.items()}
        used = fitted.parameters() | fitted.chosen_
        used |= {"unobserved_weight": alpha, "unobserved_target": fitted.objective.resolved().unobserved_target}
        return cls(distributions, {name: _within(used[name], known) for name, known in distributions.items()})

    def starts(self) -> list[dict[str, Any]]:
        """What is tried first: the defaults, these with neighbours of other weights, and settings near them. Always the
        same ones."""
        rng = np.random.default_rng(0)
        near = [
            {name: self._near(name, float(step)) for name, step in zip(self.distributions, steps, strict=True)}
            for steps in rng.normal(0.0, NEAR, (N_NEAR, len(self.distributions)))
        ]
        weights = [{**self.defaults, "neighbor_weight": weight} for weight in FURTHER_STARTS]
        return [self.defaults, *weights, *near]

    def _near(self, name: str, step: float) -> Any:
        """The default of a setting, moved by ``step`` lengths of its range."""
        known: Any = self.distributions[name]
        by_factors = bool(known.log)
        low, high, value = (np.log(one) if by_factors else one for one in (known.low, known.high, self.defaults[name]))
        moved = float(np.clip(value + step * (high - low), low, high))
        found = float(np.exp(moved)) if by_factors else moved
        return _within(round(found) if isinstance(known, IntDistribution) else found, known)

    @classmethod
    def read(cls, recorded: dict[str, Any]) -> Self:
        """From what ``as_dict`` gave."""
        distributions = {name: json_to_distribution(known) for name, known in recorded["distributions"].items()}
        return cls(distributions, recorded["defaults"])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        distributions = {name: distribution_to_json(known) for name, known in self.distributions.items()}
        return {"distributions": distributions, "defaults": self.defaults}

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """The settings of a trial."""
        suggested: dict[str, Any] = {}
        for name, known in self.distributions.items():
            if isinstance(known, IntDistribution):
                suggested[name] = trial.suggest_int(name, known.low, known.high, log=known.log)
            elif isinstance(known, FloatDistribution):
                suggested[name] = trial.suggest_float(name, known.low, known.high, log=known.log)
        return suggested


def _within(value: Any, known: Any) -> Any:
    """``value``, or the end of the range that is next to it: a part that the defaults leave out (0) is a faint one."""
    return min(max(value, known.low), known.high)
