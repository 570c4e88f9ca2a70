"""FittedModel: what a fit gave, and folding in by it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import NotFittedError
from timbral.judging.matrix import MatrixLike
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.fold_in import fold_in
from timbral.models.engine.objective import Objective
from timbral.models.engine.sparse_rows import SparseRows, read_rows
from timbral.models.engine.weighting import Side, Weighting
from timbral.models.file.stored_model import StoredModel
from timbral.models.kernels.threads import Threads, resolve_n_threads
from timbral.models.scoring import Scoring

__all__ = ["FittedModel", "FloatArray"]

FloatArray = npt.NDArray[np.float32]


class FittedModel(StoredModel):
    """What of ``NMFModel`` is there after a fit; its attributes are described there."""

    objective: Objective
    n_threads: int | None
    is_fitted: bool
    n_users: int
    n_items: int
    user_factors: FloatArray | None
    item_factors: FloatArray | None
    _scoring: Scoring | None
    _chosen: dict[str, float]
    _seen: sparse.csr_matrix | None
    _weighting: Weighting | None
    _fixed: dict[str, Fixed]

    @property
    def n_interactions(self) -> int:
        """(user, item) pairs that the model was fitted to; 0 before a fit."""
        return 0 if self._seen is None else int(self._seen.nnz)

    @property
    def regularization_(self) -> float:
        """κ as used: as given, or as chosen on a part of the data."""
        return float(self._fitted_weighting().objective.regularization or 0.0)

    @property
    def unobserved_weight_(self) -> float:
        """α₀ as used: as given, or by the density of the data."""
        return self._fitted_weighting().unobserved_weight

    @property
    def chosen_(self) -> dict[str, float]:
        """As given, or as chosen on a part of the data: ``regularization``, ``neighbor_weight``,
        ``neighbor_regularization``, ``recency_weight``."""
        self._check_fitted()
        return dict(self._chosen)

    def fold_in(self, user_items: MatrixLike | SparseRows) -> FloatArray:
        """Vectors (n, n_components) for new or changed users, whose plays are ``user_items`` (n, n_items), the items
        being fixed.

        It is what the training's own half-sweep over users converges to. A user without plays gets zeros.
        """
        weighting = self._fitted_weighting()
        rows = read_rows(user_items, "user_items", self.n_items)
        return self._fold_in(weighting.users_side(rows), "items")

    def fold_in_items(self, users_per_item: MatrixLike) -> FloatArray:
        """Vectors (n, n_components) for new items, whose plays are ``users_per_item`` (n, n_users), the users being
        fixed."""
        weighting = self._fitted_weighting()
        rows = read_rows(users_per_item, "users_per_item", self.n_users)
        return self._fold_in(weighting.items_side(rows), "users")

    def _fold_in(self, side: Side, name: Literal["items", "users"]) -> FloatArray:
        return fold_in(
            side, self._fixed_side(name), l1=self.objective.l1_regularization, classic=self.objective.is_classic,
            n_threads=resolve_n_threads(self.n_threads),
        )  # fmt: skip

    def _fixed_side(self, name: Literal["items", "users"]) -> Fixed:
        """Kept: its sums cost as much as folding in thousands of rows."""
        if name not in self._fixed:
            weighting = self._fitted_weighting()
            factors, weight = (
                (self._items(), weighting.item_weights)
                if name == "items"
                else (self._users(), (np.diff(self._seen_of(None).indptr) > 0).astype(np.float32))
            )
            with Threads(resolve_n_threads(self.n_threads)) as threads:
                self._fixed[name] = Fixed.of(factors, weight, weighting.unobserved_target, threads)
        return self._fixed[name]

    def _fitted_weighting(self) -> Weighting:
        if self._weighting is None:
            raise NotFittedError
        return self._weighting

    @property
    def scoring(self) -> Scoring:
        """What scores are made of."""
        if self._scoring is None:
            raise NotFittedError
        return self._scoring

    def _seen_of(self, users: npt.NDArray[np.int64] | None) -> sparse.csr_matrix:
        if self._seen is None:
            raise NotFittedError
        return self._seen if users is None else self._seen[users]

    def _check_fitted(self) -> None:
        if not self.is_fitted:
            raise NotFittedError

    def _users(self) -> FloatArray:
        if self.user_factors is None:
            raise NotFittedError
        return self.user_factors

    def _items(self) -> FloatArray:
        """item_factors by items: (n_items, n_components), C-contiguous."""
        return self.scoring.items
