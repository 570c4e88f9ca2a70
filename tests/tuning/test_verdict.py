"""Settings are kept where they are better than the defaults beyond noise, on rows that no trial saw."""

from __future__ import annotations

import numpy as np
import pytest

from timbral.logic.split import Parts
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


def test_without_a_trial_that_was_judged_on_all_folds_the_defaults_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "_judged", lambda *_: of([0.5, 0.4]))

    parts = Parts(None, None, None)

    found = verdict.compare_settings(None, parts, parts, None, lambda: None, 1)

    assert (found.outcome, found.is_better) == ("not better", False)
    assert "more minutes" in found.reason
