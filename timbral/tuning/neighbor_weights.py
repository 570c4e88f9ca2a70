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

LEAST_WEIGHT: Final = 0.1
"""γ to try others around, where the defaults leave neighbours out."""

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NeighborWeights:
    """``regularizations`` (λ) × ``weights`` (γ) of the neighbours; ``defaults`` is the place of what NMFModel chose by
    itself."""

    regularizations: tuple[float, ...]
    weights: tuple[float, ...]
    defaults: tuple[int, int]

    @classmethod
    def around(cls, chosen: dict[str, float]) -> Self:
        """Around what a model with the defaults chose."""
        gamma, lambda_ = chosen["neighbor_weight"], chosen["neighbor_regularization"]
        scale = gamma or LEAST_WEIGHT
        weights = tuple(scale * one for one in WEIGHTS)
        return cls(
            tuple(lambda_ * one for one in REGULARIZATIONS), weights, (REGULARIZATIONS.index(1.0), weights.index(gamma))
        )

    def best(self, table: Table) -> dict[str, float]:
        """The settings with the greatest quality in ``table`` (λ, γ)."""
        return self._at(*np.unravel_index(int(np.argmax(table)), table.shape))

    def of_defaults(self) -> dict[str, float]:
        """What NMFModel chose by itself."""
        return self._at(*self.defaults)

    def _at(self, which: int | np.intp, place: int | np.intp) -> dict[str, float]:
        return {"neighbor_regularization": self.regularizations[which], "neighbor_weight": self.weights[place]}

    @classmethod
    def read(cls, recorded: dict[str, Any]) -> Self:
        """From what ``as_dict`` gave."""
        of_neighbors = tuple(recorded["regularizations"]), tuple(recorded["weights"])
        return cls(*of_neighbors, (recorded["defaults"][0], recorded["defaults"][1]))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "regularizations": list(self.regularizations),
            "weights": list(self.weights),
            "defaults": list(self.defaults),
        }
