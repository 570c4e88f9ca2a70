"""Why an item is recommended: the score, shared out among the items of the history."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["contributions"]

Vector = npt.NDArray[np.float32]


def contributions(user: Vector, item: Vector, history: Vector, pull: Vector) -> npt.NDArray[np.float64]:
    """What each item of the history contributes to the score user · item; float64 (len(history),), ≥ 0.

    The score is a sum of factors, Σ_f user_f · item_f, none of them negative. Each factor's part is shared out among the history's
    items as they speak for this factor in the training, item j with ``pull[j] · history[j, f]``. So the contributions add up to the
    score, up to rounding, less the part of factors that no item of the history has (none where the user's vector is what the history
    folds in to).

    Args:
        user, item: (k,).
        history: (n, k), the vectors of the items played.
        pull: (n,), confidence times target of each.
    """
    support = history.astype(np.float64) * pull[:, None]
    total = support.sum(axis=0)
    shares = np.divide(support, total, out=np.zeros_like(support), where=total > 0)
    return np.asarray(shares @ (user.astype(np.float64) * item))
