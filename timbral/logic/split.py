"""Split: which rows of a data set a training holds out. It is kept with the version, so that a later one can be compared on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from scipy import sparse

from timbral.data.interactions import Interactions
from timbral.judging.hold_out import hold_out, hold_out_by_id

__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """``share`` of each user's rows: the newest (``by`` "time"), or those that a hash of the two ids picks ("ids")."""

    by: Literal["ids", "time"]
    share: float

    @classmethod
    def of(cls, data: Interactions, share: float) -> Self | None:
        """What a training on ``data`` holds out; None where it is nothing."""
        return cls("ids" if data.times is None else "time", share) if share > 0 else None

    @classmethod
    def read(cls, recorded: Any) -> Self | None:
        """From a version's record; None where it has none, or none that this version knows."""
        try:
            made = cls(**recorded)
        except TypeError:
            return None
        return made if made.by in ("ids", "time") and 0 < made.share < 1 else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fits(self, data: Interactions) -> bool:
        """Whether ``data`` can be split so."""
        return self.by == "ids" or data.times is not None

    def apply(self, data: Interactions) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """(train, held_out), both CSR of the data's shape."""
        if self.by == "time":
            return hold_out(data.matrix, self.share, 0, data.times)
        return hold_out_by_id(data.matrix, data.user_ids, data.item_ids, self.share)
