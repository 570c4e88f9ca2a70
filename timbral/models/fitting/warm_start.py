"""Starting from the factors of an earlier model: most of what a training finds was found before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from timbral.errors import DataError
from timbral.models.engine.factorization import Factors
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.fold_in import fold_in
from timbral.models.engine.weighting import Side
from timbral.models.kernels.threads import Threads

__all__ = ["KnownFactors", "warm_start"]

Vector = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KnownFactors:
    """Factors of those rows that an earlier model knew: ``user`` (n_users, k) and ``item`` (n_items, k), float32, in
    the order of the data to train on; of rows that are not marked in ``knows_user`` and ``knows_item`` they say
    nothing."""

    user: Vector
    item: Vector
    knows_user: Marks
    knows_item: Marks

    def check(self, n_users: int, n_items: int, n_components: int) -> None:
        """Raise DataError where they are not of such a model."""
        shapes = self.user.shape, self.item.shape, self.knows_user.shape, self.knows_item.shape
        wanted = (n_users, n_components), (n_items, n_components), (n_users,), (n_items,)
        if shapes != wanted:
            raise DataError(f"the factors to start from have the shapes {shapes}; they must be {wanted}")
        for name, factors in (("user", self.user), ("item", self.item)):
            if not np.isfinite(factors).all() or factors.min(initial=0.0) < 0.0:
                raise DataError(f"the {name} factors to start from must be finite and not negative")


def warm_start(
    known: KnownFactors, users: Side, items: Side, *, l1: float, classic: bool, n_threads: int, fold_new_in: bool = True
) -> Factors:
    """Known rows as they were, new ones folded in: items first, on the users that are known, then users on all items.

    Without ``fold_new_in``, where the sides do not hold their entries, new ones are 0: the first sweep is then what
    folds them in.
    """
    mu = users.unobserved_target
    user = _rows_with_entries(known.user, known.knows_user, users)
    item = _rows_with_entries(known.item, known.knows_item, items)
    for mine, knows, side, other, weight in (
        (item, known.knows_item, items, user, users.weight),
        (user, known.knows_user, users, item, items.weight),
    ):
        if knows.all() or not fold_new_in:
            continue
        with Threads(n_threads) as threads:
            fixed = Fixed.of(other, weight, mu, threads)
        mine[~knows] = fold_in(side.of_rows(~knows), fixed, l1=l1, classic=classic, n_threads=n_threads)
    return Factors(user, item)


def _rows_with_entries(factors: Vector, knows: Marks, side: Side) -> Vector:
    """A copy, zeros for a row that is not known or has no entries: no sweep would move it."""
    filled = knows & (np.diff(side.rows.indptr) > 0)
    return np.where(filled[:, None], factors, np.float32(0.0)).astype(np.float32)
