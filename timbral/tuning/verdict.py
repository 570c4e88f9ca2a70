"""What a search was worth: its best settings against the defaults, on the part of the data that no trial saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from timbral.logic.split import Parts
from timbral.models.nmf_model import NMFModel
from timbral.tuning.nested_split import MAX_ENTRIES
from timbral.tuning.quality import K, Quality, judged

__all__ = ["TuningVerdict", "compare_settings"]

MAX_USERS: Final = 20_000
SEEDS: Final = 3
"""Fits of small data (``MAX_ENTRIES``), with other seeds: one fit is a percent better than the next by chance, and what
the defaults choose of a part of the data goes with the seed, too."""

MARGIN_ERRORS: Final = 2.0
"""Standard errors of the paired difference that the best settings have to be better by."""


class TuningVerdict(NamedTuple):
    """``outcome`` decides and ``reason`` says why; ``quality`` has the figures."""

    outcome: str
    reason: str
    quality: dict[str, Any]
    n_users: int

    @property
    def is_better(self) -> bool:
        """Whether the settings are to be used."""
        return self.outcome == "better"


def compare_settings(
    best: dict[str, Any] | None,
    outer: Parts,
    tuned_on: Parts,
    seed: int | None,
    check: Callable[[], None],
    n_threads: int | None,
) -> TuningVerdict:
    """Fit with the defaults to ``outer.train`` and with ``best`` to ``tuned_on.train``; judge both on what is held out.
    Of small data both are the mean of fits with ``SEEDS`` seeds.

    Args:
        best: settings of a trial; None where no trial was judged on all folds.
        tuned_on: the same rows, with plays that count by their age where ``best`` says so.
        check: called with each sweep; raises to end it.
    """
    defaults = _judged({}, outer, seed, check, n_threads)
    n_users = len(defaults.both)
    if best is None:
        quality = {"defaults": _figures(defaults)}
        reason = "no trial was judged on all folds: the defaults stay; give more minutes or trials"
        return TuningVerdict("not better", reason, quality, n_users)
    made = {name: value for name, value in best.items() if name != "half_life_days"}
    tuned = _judged({"recency_weight": 0.0, **made}, tuned_on, seed, check, n_threads)
    difference = tuned.both - defaults.both
    gain = float(difference.mean())
    error = float(difference.std(ddof=1) / np.sqrt(n_users)) if n_users > 1 else 0.0
    share = gain / defaults.mean if defaults.mean > 0 else 0.0
    share_error = error / defaults.mean if defaults.mean > 0 else 0.0
    is_better = gain > 0 and gain > MARGIN_ERRORS * error
    figures = f"{100 * share:+.2f} % ± {100 * share_error:.2f} % (one standard error)"
    kept = "kept for this data set" if is_better else "not better beyond noise: the defaults stay"
    reason = f"{figures} against the defaults, on rows of {n_users} users that no trial saw: {kept}"
    figures_of: dict[str, Any] = {
        "tuned": _figures(tuned),
        "defaults": _figures(defaults),
        "difference": gain,
        "error": error,
        "share": share,
        "share_error": share_error,
    }
    return TuningVerdict("better" if is_better else "not better", reason, figures_of, n_users)


def _judged(
    settings: dict[str, Any], outer: Parts, seed: int | None, check: Callable[[], None], n_threads: int | None
) -> Quality:
    first = NMFModel(random_state=seed).random_state
    n_fits = SEEDS if outer.train.nnz <= MAX_ENTRIES else 1
    found = []
    for number in range(n_fits):
        check()
        model = NMFModel(random_state=(first + number) % 2**32, n_threads=n_threads, **settings)
        model.fit(outer.train, callback=lambda *_: check(), times=outer.times)
        found.append(judged(model, outer, MAX_USERS))
    return Quality.mean_of(found)


def _figures(quality: Quality) -> dict[str, float]:
    figures = {f"recall@{K}": quality.recall, f"ndcg@{K}": quality.ndcg, "mean of both": quality.both}
    return {name: float(values.mean()) for name, values in figures.items()}
