"""What a score has beside the factors, as options."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from timbral.models.checks import check_int, check_real

__all__ = ["PartOptions"]


@dataclass(frozen=True)
class PartOptions:
    """The neighbour part and the recency part. Where a weight is None it is chosen on a held-out part of the data,
    together with the regularisation of the factors: exactly 0 where the part gains nothing, where the data are too few
    to tell, and where the target is not "one": scores then stand for values.

    n_neighbors: most items that speak for an item; 0: no neighbour part.
    neighbor_weight: γ, what the neighbours' sum is multiplied by before it is added to the factors' score.
    neighbor_regularization: λ, in units of the mean diagonal of the co-play matrix; the larger it is, the more
        neighbours share what one could say alone; 3 where None.
    neighbor_play_exponent: e, to the power of which plays count where it is told what is played together; 0: how often
        somebody played an item does not count. On some data plays say much of that, on others they mislead: a search
        (docs/tuning.md) tries it.
    recency_weight: ρ, of the recency part: what an item's recent share of plays, on a logarithmic scale, adds to its
        score. Only data with times have one.
    """

    n_neighbors: int = 100
    neighbor_weight: float | None = None
    neighbor_regularization: float | None = None
    neighbor_play_exponent: float = 0.0
    recency_weight: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_neighbors", check_int(self.n_neighbors, "n_neighbors", 0, 10_000))
        exponent = check_real(self.neighbor_play_exponent, "neighbor_play_exponent", 0.0, 4.0)
        object.__setattr__(self, "neighbor_play_exponent", exponent)
        for name, high in (("neighbor_weight", 1e6), ("neighbor_regularization", 1e6), ("recency_weight", 1e6)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check_real(value, name, 0.0, high))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
