"""Split: which rows of a data set a training holds out. It is kept with the version, so that a later one can be
compared on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.interactions import Interactions
from timbral.judging.hold_out import hold_out, hold_out_by_id, with_ties_broken

__all__ = ["Parts", "Split"]


class Parts(NamedTuple):
    """What is trained on, what is held out, and the times of the entries of ``train``, None where the split is not by
    time."""

    train: sparse.csr_matrix
    held_out: sparse.csr_matrix
    times: npt.NDArray[np.int64] | None


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

    def apply(self, data: Interactions) -> Parts:
        """``data`` in two parts, both CSR of its shape."""
        matrix = data.matrix
        if self.by == "ids":
            train, held_out = hold_out_by_id(matrix, data.user_ids, data.item_ids, self.share)
            return Parts(train, held_out, None)
        assert data.times is not None  # noqa: S101 - for the type checker; see ``fits``
        # Split by their places, so that the times can follow.
        places = sparse.csr_matrix((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
        order = with_ties_broken(data.times, matrix, data.user_ids, data.item_ids)
        train, held_out = hold_out(places, self.share, 0, order)
        times = data.times[train.data - 1]
        for part in (train, held_out):
            part.data = matrix.data[part.data - 1]
        return Parts(train, held_out, times)
