"""The best trials once more, on folds that chose nothing, and what they have in common beside them: of many trials the
best one is lucky too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from timbral.tuning.neighbor_weights import Table
from timbral.tuning.nested_split import N_FOLDS
from timbral.tuning.space import Space
from timbral.tuning.trial import Bench

__all__ = ["N_BEST", "final_settings"]

N_FINALISTS: Final = 5
"""Of the best trials, that go on themselves."""

MIDDLES: Final = (5, 12)
"""And the middle of so many of the best."""

N_BEST: Final = max(N_FINALISTS, *MIDDLES)


class _Finalist(NamedTuple):
    """``table``: (folds, λ, γ)."""

    settings: dict[str, Any]
    table: Table

    def quality(self, first_fold: int) -> float:
        """With its best λ and γ of all folds, on those from ``first_fold`` on."""
        best = np.unravel_index(int(np.argmax(self.table.mean(axis=0))), self.table.shape[1:])
        return float(self.table[first_fold:, best[0], best[1]].mean())


def final_settings(
    best: list[tuple[dict[str, Any], Table]],
    defaults: Table | None,
    bench: Bench,
    space: Space,
    is_over: Callable[[], bool],
    check: Callable[[], None],
) -> dict[str, Any] | None:
    """The settings of the best finalist, half of whom go on from each further fold to the next, judged by these alone;
    None where there are none. Finalists are the best trials, the middle of them, and the defaults with other weights of
    neighbours.

    Args:
        best: settings and tables (folds, λ, γ) of up to ``N_BEST`` trials, the best one first.
        defaults: the table of the trial with the defaults; None where it was not judged on all folds.
        is_over: whether there is no time for one more fold.
    """
    left = [_Finalist(*one) for one in best[:N_FINALISTS]]
    if defaults is not None and all(one.settings != space.defaults for one in left):
        left.append(_Finalist(space.defaults, defaults))
    for n in sorted({min(n, len(best)) for n in MIDDLES}):
        if n > 1 and not is_over():
            settings = space.middle([one for one, _ in best[:n]])
            left.append(_Finalist(settings, bench.table(space.used(settings), range(N_FOLDS), check)))
    if not left:
        return None
    left.sort(key=lambda one: -one.quality(0))
    for fold in range(N_FOLDS, len(bench.nested.folds)):
        if len(left) < 2 or is_over():
            break
        left = [
            _Finalist(settings, np.concatenate([table, bench.table(space.used(settings), [fold], check)]))
            for settings, table in left
        ]
        left.sort(key=lambda one: -one.quality(N_FOLDS))
        left = left[: -(-len(left) // 2)]
    return space.used(left[0].settings) | bench.weights.best(left[0].table.mean(axis=0))
