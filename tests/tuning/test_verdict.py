"""Settings are kept where they are better than the defaults beyond noise, on rows that no trial saw."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.logic.split import Parts
from timbral.models.nmf_model import NMFModel
from timbral.tuning import verdict
from timbral.tuning.quality import Quality


def of(values: list[float]) -> Quality:
    return Quality(np.array(values), np.array(values))


@pytest.mark.parametrize(
    ("tuned", "outcome"),
    [
        ([0.6, 0.5, 0.6, 0.5], "better"),
        ([0.9, 0.1, 0.5, 0.3], "not better"),  # better in the mean, by one user alone
        ([0.4, 0.3, 0.4, 0.3], "not better"),
    ],
)
def test_a_gain_counts_from_two_standard_errors_on(
    monkeypatch: pytest.MonkeyPatch, tuned: list[float], outcome: str
) -> None:
    results = iter([of([0.5, 0.4, 0.45, 0.4]), of(tuned)])  # the defaults are judged first
    monkeypatch.setattr(verdict, "_judged", lambda *_: next(results))
    parts = Parts(None, None, None)

    found = verdict.compare_settings({"n_components": 4}, parts, parts, None, lambda: None, 1)

    assert found.outcome == outcome
    assert found.n_users == 4
    assert found.quality["difference"] == pytest.approx(np.mean(tuned) - 0.4375)
    assert ("the defaults stay" in found.reason) == (outcome != "better")


def test_small_data_are_judged_by_the_mean_of_fits_with_other_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sparse.csr_matrix(np.triu(np.ones((6, 6), np.float32)))
    seeds: list[int] = []

    def quality_of(model: NMFModel, *_: object) -> Quality:
        seeds.append(model.random_state)
        return of([0.1 * len(seeds), 0.2])

    monkeypatch.setattr(verdict, "judged", quality_of)

    found = verdict.compare_settings(None, Parts(rows, rows, None), Parts(rows, rows, None), 7, lambda: None, 1)

    assert seeds == [7, 8, 9]
    assert found.quality["defaults"]["mean of both"] == pytest.approx(0.2)  # of the means .1, .2, .3 and .2


def test_without_a_trial_that_was_judged_on_all_folds_the_defaults_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "_judged", lambda *_: of([0.5, 0.4]))

    parts = Parts(None, None, None)

    found = verdict.compare_settings(None, parts, parts, None, lambda: None, 1)

    assert (found.outcome, found.is_better) == ("not better", False)
    assert "more minutes" in found.reason
