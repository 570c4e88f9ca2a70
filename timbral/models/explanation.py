"""Why an item is recommended: the score, shared out among the items of the history."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.models.engine.fixed import Fixed
from timbral.models.engine.weighting import Side

__all__ = ["contributions", "strongest"]

Vector = npt.NDArray[np.float32]

LEAST_LEFT: Final = 0.01
"""Of what holds a vector in an item's direction, the least that is taken to be left without that item."""


def contributions(user: Vector, item: Vector, side: Side, fixed: Fixed) -> npt.NDArray[np.float64]:
    """What each item of the history contributes to the score user · item; float64 (entries,), ≥ 0, in the entries'
    order.

    The score is shared out in proportion to how far it would fall without the item, so the contributions add up to it.
    Items without which it would rise contribute nothing; where no item makes it fall, all contribute the same.

    The falls need no folding in. Which factors the user has, A, is taken as given. There the user's vector solves M·u =
    b, with M = Σ_j w_j h_j h_jᵀ + Σ_history (c_j - w_j) h_j h_jᵀ + λI and b = μ Σ_j w_j h_j + Σ_history (c_j r_j - w_j
    μ) h_j, less l1. That j was not played, changes both by one vector, and the score falls by (Sherman, Morrison, 1950)

        [c_j r_j - w_j μ - (c_j - w_j) ŷ_j] · itemᵀ M⁻¹ h_j / (1 - (c_j - w_j) h_jᵀ M⁻¹ h_j).

    The first factor is what the entry adds to the user's pull, the second how alike the model takes the two items to
    be, for this user. Hu, Koren, Volinsky ("Collaborative Filtering for Implicit Feedback Datasets", 2008) explain by
    M⁻¹ too, by b's sum: in it the part that all users share would be some item's doing.

    Args:
        user, item: (k,).
        side: one row, the user's entries.
        fixed: all items.
    """
    entries = side.rows.indices
    active = np.flatnonzero(user > 0)
    if not len(active):
        return np.zeros(len(entries))
    history = fixed.factors[np.ix_(entries, active)].astype(np.float64)
    mine, wanted = user[active].astype(np.float64), item[active].astype(np.float64)
    weight = fixed.weight[entries].astype(np.float64)
    excess = side.confidence - weight
    curvature = fixed.gram[np.ix_(active, active)] + (history.T * excess) @ history
    # Without regularisation, factors that are alike would leave it singular.
    curvature[np.diag_indices(len(active))] += side.l2[0] + 1e-6 * np.mean(np.diag(curvature))
    solved = np.linalg.solve(curvature, np.column_stack([wanted, history.T]))
    left = np.maximum(1.0 - excess * np.einsum("jf,fj->j", history, solved[:, 1:]), LEAST_LEFT)
    pull = side.confidence * side.target - weight * side.unobserved_target - excess * (history @ mine)
    falls = np.maximum(pull * (history @ solved[:, 0]) / left, 0.0)
    if not falls.any():
        falls[:] = 1.0
    return np.asarray(falls / falls.sum() * (mine @ wanted))


def strongest(
    user: Vector,
    item: Vector,
    side: Side,
    fixed: Fixed,
    spoken: npt.NDArray[np.float64],
    recency: float,
    top_k: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The ``top_k`` greatest shares of the whole score: (item_indices, shares), without zeros; the lower index first
    among equals.

    A played item's share is its contribution to the factors' part, and what it says for the item as a neighbour,
    ``spoken`` (entries,). The ``recency`` of the item, which no played item brings, is shared out in proportion.
    """
    parts = contributions(user, item, side, fixed) + spoken
    if recency > 0.0 and len(parts):
        parts += recency * (parts / parts.sum() if parts.any() else np.full(len(parts), 1.0 / len(parts)))
    shares = parts.astype(np.float32)
    order = np.lexsort((side.rows.indices, -shares))[:top_k]
    order = order[shares[order] > 0]
    return side.rows.indices[order].astype(np.int32), shares[order]
