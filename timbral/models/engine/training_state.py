"""Where a training stands between two sweeps: all that the next one needs, so that it can go on elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from timbral.models.engine.extrapolation import StepSize

__all__ = ["Checkpoints", "TrainingState"]

Vector = npt.NDArray[np.float32]


@dataclass
class TrainingState:
    """``user`` (n_users, k) and ``item`` (n_items, k) are the factors of the last loss in ``loss``; ``last_item`` the
    item factors of the loss before, from which the next sweep goes on by ``step``."""

    user: Vector
    item: Vector
    last_item: Vector
    loss: list[float] = field(default_factory=list)
    iteration: int = 0
    """Sweeps done, with those that were given up."""
    step: float = 0.0
    size: StepSize = field(default_factory=StepSize)
    converged: bool = False

    @classmethod
    def of_start(cls, user: Vector, item: Vector) -> Self:
        return cls(user, item, item.copy())


class Checkpoints(Protocol):
    """Where the state of one fit is kept while it goes on."""

    def chosen(self) -> dict[str, float] | None:
        """What this very fit had chosen by its data; None where there is no state of it to go on from."""

    def note_chosen(self, chosen: dict[str, float]) -> None:
        """Kept with each state from now on."""

    def load(self) -> TrainingState | None:
        """The newest one of this very fit, whose arrays may be changed; None where there is none."""

    def offer(self, state: TrainingState, *, last: bool) -> None:
        """Called after each sweep; keeps a copy if enough time has passed. ``last``: no sweep follows."""
