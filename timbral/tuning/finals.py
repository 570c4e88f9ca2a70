"""The best trials once more, on folds that chose nothing, and what they have in common beside them: of many trials the
best one is lucky too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

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

    def by_fold(self, first_fold: int) -> npt.NDArray[np.float64]:
        """The quality with its best λ and γ of all folds, on those from ``first_fold`` on: float64 (folds,)."""
        best = np.unravel_index(int(np.argmax(self.table.mean(axis=0))), self.table.shape[1:])
        return self.table[first_fold:, best[0], best[1]]

    def quality(self, first_fold: int) -> float:
        """The mean of ``by_fold``."""
        return float(self.by_fold(first_fold).mean())


def final_settings(
    best: list[tuple[dict[str, Any], Table]],
    defaults: Table | None,
    bench: Bench,
    space: Space,
    is_over: Callable[[], bool],
    check: Callable[[], None],
) -> dict[str, Any] | None:
    """The settings of the finalist that is best on the further folds, on as many of these as there is time for; None
    where there are no finalists. They are the best trials, the middle of them, what is half way from there to the
    defaults, and the defaults with other weights of neighbours; these last ones where no other is better beyond chance.
    The best finalist is judged once more with twice as many neighbours.

    Args:
        best: settings and tables (folds, λ, γ) of up to ``N_BEST`` trials, the best one first.
        defaults: the table of the trial with the defaults; None where it was not judged on all folds.
        is_over: whether there is no time for one more fit. A fold that not all of them were judged on tells nothing.
    """
    finalists = [_Finalist(*one) for one in best[:N_FINALISTS]]
    if defaults is not None and all(one.settings != space.defaults for one in finalists):
        finalists.append(_Finalist(space.defaults, defaults))
    made = [space.middle([one for one, _ in best[:n]]) for n in sorted({min(n, len(best)) for n in MIDDLES}) if n > 1]
    if made:
        made.append(space.middle([made[-1], space.defaults]))  # the median of two is half way
    finalists += [
        _Finalist(settings, bench.table(space.used(settings), range(N_FOLDS), check))
        for settings in made
        if not is_over()
    ]
    if not finalists:
        return None
    for fold in range(N_FOLDS, len(bench.nested.folds)):
        further: list[Table] = []
        for one in finalists:
            if is_over():
                break
            further.append(bench.table(space.used(one.settings), [fold], check))
        if len(further) < len(finalists):
            break
        finalists = [
            _Finalist(one.settings, np.concatenate([one.table, table]))
            for one, table in zip(finalists, further, strict=True)
        ]
    judged_on = len(finalists[0].table)
    decides = N_FOLDS if judged_on > N_FOLDS else 0
    found = _simplest(finalists, space, decides)
    settings = space.used(found.settings)
    more = _judged_on(judged_on, bench, bench.with_more_neighbors(settings), is_over, check)
    if more is not None and more.quality(decides) > found.quality(decides):
        found, settings = more, more.settings
    return settings | bench.weights.best(found.table.mean(axis=0))


def _simplest(finalists: list[_Finalist], space: Space, decides: int) -> _Finalist:
    """The best finalist, or the defaults with other weights of neighbours where these are within a standard error of
    it: the best of several is lucky (Breiman, Friedman, Olshen & Stone, "Classification and Regression Trees", 1984:
    the rule of one standard error)."""
    best = max(finalists, key=lambda one: one.quality(decides))
    for one in finalists:
        difference = best.by_fold(decides) - one.by_fold(decides)
        if one.settings == space.defaults and len(difference) > 1:
            error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
            return one if difference.mean() <= error else best
    return best


def _judged_on(
    n_folds: int, bench: Bench, settings: dict[str, Any], is_over: Callable[[], bool], check: Callable[[], None]
) -> _Finalist | None:
    """None where time was too short for one of the folds."""
    tables: list[Table] = []
    for fold in range(n_folds):
        if is_over():
            return None
        tables.append(bench.table(settings, [fold], check))
    return _Finalist(settings, np.concatenate(tables))
