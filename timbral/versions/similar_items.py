"""SimilarItems: which items are most like which, found once with a version and kept in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from timbral.errors import DataError
from timbral.models.nmf_model import NMFModel

__all__ = ["LISTED_ITEMS", "SIMILAR_TOP_K", "SimilarItems"]

SIMILAR_TOP_K: Final = 20
LISTED_ITEMS: Final = 100_000
"""Items that get a list, those with the most users; finding them takes the square of it."""


@dataclass(frozen=True)
class SimilarItems:
    """``listed`` int32 (m,), ascending codes; ``items`` int32 (m, SIMILAR_TOP_K), codes, -1 where there are no more;
    their ``scores``."""

    listed: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    @classmethod
    def of(cls, model: NMFModel, users_per_item: npt.NDArray[np.int64]) -> Self:
        """Those of a fitted model."""
        most = np.argsort(-users_per_item, kind="stable")[:LISTED_ITEMS]
        listed = np.sort(most).astype(np.int32)
        return cls(listed, *model.similar_lists(listed, SIMILAR_TOP_K))

    def tensors(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For a model's file."""
        return {f"{prefix}listed": self.listed, f"{prefix}items": self.items, f"{prefix}scores": self.scores}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, n_items: int) -> Self:
        """What ``tensors`` gave.

        Raises:
            DataError: they are not of a model of ``n_items`` items.
            KeyError: there are none.
        """
        made = cls(*(tensors[f"{prefix}{name}"] for name in ("listed", "items", "scores")))
        n_listed = len(made.listed)
        shapes = made.items.shape == made.scores.shape == (n_listed, SIMILAR_TOP_K)
        if not shapes or any(
            len(codes) and not -1 <= codes.min() <= codes.max() < n_items for codes in (made.listed, made.items)
        ):
            raise DataError("its similar items are none of its items")
        return made
