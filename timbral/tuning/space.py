"""What is searched: the settings that a data set's factors depend on, and between which values.

What neighbours weigh is chosen for each of them (``timbral.tuning.neighbor_weights``). How many neighbours an item has
is not searched: from 50 to 300 made a tenth of a percent.
"""

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

FLOATS: Final = {
    "unobserved_target": (0.25, 0.75, False),
    "popularity_exponent": (0.0, 0.6, False),
    "regularization_exponent": (0.35, 0.8, False),
}
"""By argument: from, to, and whether by factors or by steps. No wider: the defaults are near the best of each setting
by itself, and what is tried far from them is lost."""

CONFIDENCE: Final = (0.25, 8.0, True)

RECENCY: Final = (0.003, 5.0, True)

HALF_LIFE_DAYS: Final = (7.0, 3_650.0, True)
"""The longest is none."""

UNOBSERVED_AROUND: Final = 3.0
"""α₀ is searched up to so many times, and down to so small a share of, what the density of the data gives."""

REGULARIZATION_AROUND: Final = 2.0
"""κ likewise, around what the defaults chose: half as much again costs percents."""

STEP: Final = 0.18
"""How far a setting is moved at first, in lengths of its range."""

LEAST_SHARE: Final = 1 / 3
"""Of the greatest gain: what moved less than this may be noise."""

COMBINED: Final = (0.5, 1.0)
"""The moves that were for the better are made together: by so much of their lengths, since what two settings gain, they
often gain in the same way."""


@dataclass(frozen=True)
class Space:
    """``distributions`` by setting, and the ``defaults`` in them: what NMFModel uses by itself."""

    distributions: dict[str, BaseDistribution]
    defaults: dict[str, Any]

    @classmethod
    def around(cls, fitted: NMFModel, *, with_values: bool, with_times: bool, with_half_life: bool) -> Self:
        """The space around a model that was fitted with the defaults.

        Args:
            with_values: whether entries differ in their values, so that some can count more than others.
            with_times: whether there is a recency part to weigh.
            with_half_life: whether plays may count less the older they are.
        """
        k, alpha, kappa = fitted.n_components, fitted.unobserved_weight_, fitted.chosen_["regularization"]
        distributions: dict[str, BaseDistribution] = {
            "n_components": IntDistribution(max(1, k // 3), max(2, int(k * LARGEST_SHARE)), log=True),
            "unobserved_weight": FloatDistribution(
                alpha / UNOBSERVED_AROUND, min(1.0, alpha * UNOBSERVED_AROUND), log=True
            ),
            "regularization": FloatDistribution(kappa / REGULARIZATION_AROUND, kappa * REGULARIZATION_AROUND, log=True),
        }
        floats = FLOATS | ({"confidence": CONFIDENCE} if with_values else {})
        floats |= {"recency_weight": RECENCY} if with_times else {}
        floats |= {"half_life_days": HALF_LIFE_DAYS} if with_half_life else {}
        distributions |= {name: FloatDistribution(low, high, log=log) for name, (low, high, log) in floats.items()}
        used = fitted.parameters() | fitted.chosen_ | {"half_life_days": HALF_LIFE_DAYS[1]}
        used |= {"unobserved_weight": alpha, "unobserved_target": fitted.objective.resolved().unobserved_target}
        return cls(distributions, {name: _within(used[name], known) for name, known in distributions.items()})

    def starts(self) -> list[dict[str, Any]]:
        """What is tried first: the defaults, and each setting moved from there by itself, up and down. Always the
        same ones."""
        moved = [{**self.defaults, name: self._moved(name, step)} for name, step in self._moves()]
        return [self.defaults, *moved]

    def _moves(self) -> list[tuple[str, float]]:
        return [(name, step) for name in self.distributions for step in (STEP, -STEP)]

    def combined(self, qualities: list[float | None]) -> list[dict[str, Any]]:
        """What is tried next: the moves together that were for the better.

        Args:
            qualities: of ``starts``; None where one has none.
        """
        first = qualities[0] if qualities else None
        gains: dict[str, tuple[float, float]] = {}
        for (name, step), quality in zip(self._moves(), qualities[1:], strict=False):
            if first is not None and quality is not None and quality > max(first, gains.get(name, (first, 0.0))[0]):
                gains[name] = quality, step
        best = max((quality for quality, _ in gains.values()), default=0.0)
        least = (first or 0.0) + (best - (first or 0.0)) * LEAST_SHARE
        large = {name: step for name, (quality, step) in gains.items() if quality >= least}
        if len(large) < 2:
            return []
        return [
            {**self.defaults, **{name: self._moved(name, share * step) for name, step in large.items()}}
            for share in COMBINED
        ]

    def middle(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """The median of each setting by itself in ``found``, which has one or more: what all of them agree on stays,
        and what made one of them lucky goes."""
        return {name: self._at(name, [self._place(name, one[name]) for one in found]) for name in self.distributions}

    def _moved(self, name: str, step: float) -> Any:
        """The default of a setting, moved by ``step`` lengths of its range."""
        return self._at(name, [self._place(name, self.defaults[name]) + step])

    def _place(self, name: str, value: float) -> float:
        """Where in its range ``value`` is: 0 at the low end, 1 at the high one."""
        known: Any = self.distributions[name]
        low, high, at = (np.log(one) if known.log else one for one in (known.low, known.high, value))
        return float((at - low) / (high - low)) if high > low else 0.0

    def _at(self, name: str, places: list[float]) -> Any:
        """What is at the median of ``places``, or at the end of the range that is next to it."""
        known: Any = self.distributions[name]
        low, high = (np.log(one) if known.log else one for one in (known.low, known.high))
        at = low + min(max(float(np.median(places)), 0.0), 1.0) * (high - low)
        found = float(np.exp(at)) if known.log else float(at)
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

    def used(self, suggested: dict[str, Any]) -> dict[str, Any]:
        """What a trial's settings come to: the faintest recency is none, and so is the longest half-life."""
        settings = dict(suggested)
        if settings.get("recency_weight", np.inf) <= RECENCY[0]:
            settings["recency_weight"] = 0.0
        if settings.get("half_life_days", 0.0) >= HALF_LIFE_DAYS[1]:
            del settings["half_life_days"]
        return settings


def _within(value: Any, known: Any) -> Any:
    """``value``, or the end of the range that is next to it: a part that the defaults leave out (0) is a faint one."""
    return min(max(value, known.low), known.high)
