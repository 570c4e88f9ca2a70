"""What neighbours weigh beside the factors: tried all at once on factors that are there already.

A fit of the factors takes seconds or minutes; what neighbours are worth beside them is told by ranking again. So no
trial is spent on it: each has the best weights for its factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

__all__ = ["NeighborWeights", "Table"]

REGULARIZATIONS: Final = (1 / 3, 1.0, 3.0)
"""λ, in units of what the defaults chose."""

WEIGHTS: Final = (0.0, *(2.0 ** (step / 2) for step in range(-7, 9)))
"""γ, likewise."""

PLAY_EXPONENT: Final = 0.5
"""e, tried beside 0 with the λ of the defaults. On Last.fm 2K it gains 1.6 %, .25 and .75 less (docs/tuning.md)."""

LEAST_WEIGHT: Final = 0.1
"""γ to try others around, where the defaults leave neighbours out."""

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NeighborWeights:
    """``regularizations`` (λ) × ``weights`` (γ) of the neighbours; ``defaults`` is the place of what NMFModel chose by
    itself. Where ``with_plays``, a line more, with the λ of the defaults: plays count in the neighbour part."""

    regularizations: tuple[float, ...]
    weights: tuple[float, ...]
    defaults: tuple[int, int]
    with_plays: bool = False

    @classmethod
    def around(cls, chosen: dict[str, float], *, with_plays: bool) -> Self:
        """Around what a model with the defaults chose.

        Args:
            with_plays: whether entries differ in their values, so that some can count more than others.
        """
        gamma, lambda_ = chosen["neighbor_weight"], chosen["neighbor_regularization"]
        scale = gamma or LEAST_WEIGHT
        weights = tuple(scale * one for one in WEIGHTS)
        return cls(
            tuple(lambda_ * one for one in REGULARIZATIONS),
            weights,
            (REGULARIZATIONS.index(1.0), weights.index(gamma)),
            with_plays,
        )

    @property
    def kinds(self) -> list[tuple[float, tuple[float, ...]]]:
        """e, and the λ that are tried with it: what the lines of a table are of, one after the other."""
        plain = (0.0, self.regularizations)
        return [plain, (PLAY_EXPONENT, (self.regularizations[self.defaults[0]],))] if self.with_plays else [plain]

    def best(self, table: Table) -> dict[str, float]:
        """The settings with the greatest quality in ``table`` (λ and e, γ)."""
        return self._at(*np.unravel_index(int(np.argmax(table)), table.shape))

    def of_defaults(self) -> dict[str, float]:
        """What NMFModel chose by itself."""
        return self._at(*self.defaults)

    def _at(self, which: int | np.intp, place: int | np.intp) -> dict[str, float]:
        lines = [(exponent, one) for exponent, regularizations in self.kinds for one in regularizations]
        exponent, regularization = lines[which]
        found = {"neighbor_regularization": regularization, "neighbor_weight": self.weights[place]}
        return found | ({"neighbor_play_exponent": exponent} if self.with_plays else {})

    @classmethod
    def read(cls, recorded: dict[str, Any]) -> Self:
        """From what ``as_dict`` gave."""
        of_neighbors = tuple(recorded["regularizations"]), tuple(recorded["weights"])
        return cls(*of_neighbors, (recorded["defaults"][0], recorded["defaults"][1]), recorded["with_plays"])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "regularizations": list(self.regularizations),
            "weights": list(self.weights),
            "defaults": list(self.defaults),
            "with_plays": self.with_plays,
        }
