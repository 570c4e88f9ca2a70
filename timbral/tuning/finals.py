"""The best trials once more, on folds that chose nothing: of many trials the best one is lucky too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from timbral.tuning.neighbor_weights import Table
from timbral.tuning.nested_split import N_FOLDS
from timbral.tuning.trial import Bench

__all__ = ["N_FINALISTS", "final_settings"]

N_FINALISTS: Final = 6


def final_settings(
    finalists: list[tuple[dict[str, Any], Table]],
    bench: Bench,
    used: Callable[[dict[str, Any]], dict[str, Any]],
    is_over: Callable[[], bool],
    check: Callable[[], None],
) -> dict[str, Any] | None:
    """The settings of the best of ``finalists`` over all folds, half of which go on from each further fold to the
    next; None where there are none.

    Args:
        finalists: their settings, and their tables (folds, λ, γ).
        used: what a trial's settings come to.
        is_over: whether there is no time for one more fold.
    """
    left = list(finalists)
    for fold in range(N_FOLDS, len(bench.nested.folds)):
        if len(left) < 2 or is_over():
            break
        left = [
            (settings, np.concatenate([table, bench.table(used(settings), [fold], check)])) for settings, table in left
        ]
        left.sort(key=lambda one: -float(one[1].mean(axis=0).max()))
        left = left[: -(-len(left) // 2)]
    if not left:
        return None
    settings, table = left[0]
    return used(settings) | bench.weights.best(table.mean(axis=0))
