"""What is searched lies around what the defaults choose, and is what can make a difference on the data."""

from __future__ import annotations

import pytest
from taste import interactions

from timbral.models.nmf_model import NMFModel
from timbral.tuning.space import Space


@pytest.fixture(scope="module")
def fitted() -> NMFModel:
    matrix = interactions().matrix
    return NMFModel(n_components=6, random_state=1, max_iter=3, unobserved_weight=0.2, n_threads=1).fit(matrix)


def test_every_setting_is_searched_on_both_sides_of_what_the_defaults_choose(fitted: NMFModel) -> None:
    space = Space.around(fitted, with_values=True, with_times=False, with_half_life=False)

    assert space.defaults["regularization"] == fitted.chosen_["regularization"]
    assert space.defaults["unobserved_weight"] == fitted.unobserved_weight_
    for name, known in space.distributions.items():
        assert known.low < space.defaults[name] < known.high, name  # type: ignore[attr-defined]  # all dimensions here have them


def test_settings_that_can_make_no_difference_are_not_searched(fitted: NMFModel) -> None:
    alike, with_all = (
        Space.around(fitted, with_values=one, with_times=one, with_half_life=one) for one in (False, True)
    )

    assert set(with_all.distributions) - set(alike.distributions) == {"confidence", "recency_weight", "half_life_days"}


def test_the_middle_of_settings_is_the_median_of_each_by_itself(fitted: NMFModel) -> None:
    space = Space.around(fitted, with_values=True, with_times=False, with_half_life=False)
    found = [
        {**space.defaults, "confidence": confidence, "unobserved_target": target}
        for confidence, target in ((0.5, 0.7), (1.0, 0.3), (8.0, 0.4))
    ]

    middle = space.middle(found)
    of_two = space.middle(found[1:])

    assert middle == pytest.approx({**space.defaults, "confidence": 1.0, "unobserved_target": 0.4})
    assert of_two["confidence"] == pytest.approx(8.0**0.5)  # by factors
    assert isinstance(middle["n_components"], int)
