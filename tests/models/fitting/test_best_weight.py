"""A weight is the mean of what is best for many draws of the judged users."""

from __future__ import annotations

import numpy as np
import pytest

from timbral.models.fitting.best_weight import highest, mean_best

WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8)


def judged(*quality: float, noise: float = 0.0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Of 500 users whose mean it is, each of whom is off by so much in each weight."""
    off = noise * np.random.default_rng(0).normal(size=(500, len(quality)))
    return np.array(quality) + off - off.mean(axis=0)


def best(quality: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return mean_best(WEIGHTS, quality, np.random.default_rng(1))


def test_where_all_users_agree_it_is_the_highest_point() -> None:
    assert best(judged(0.1, 0.2, 0.3, 0.2, 0.1)) == pytest.approx(0.2)
    assert best(judged(0.3, 0.2, 0.1, 0.1, 0.1)) == 0.0


def test_where_chance_has_none_as_the_best_one_a_weight_that_is_nearly_as_good_stays() -> None:
    uncertain = judged(0.301, 0.3, 0.3, 0.2, 0.1, noise=0.1)

    assert uncertain.mean(axis=0).argmax() == 0
    assert 0.0 < best(uncertain) < 0.2


def test_the_same_draws_give_the_same_weight() -> None:
    uncertain = judged(0.3, 0.3, 0.3, 0.3, 0.2, noise=0.1)

    assert best(uncertain) == best(uncertain)


def test_the_best_lies_between_the_places_that_were_tried() -> None:
    """Given a quality that falls as the square of the logarithm's distance from .3"""
    quality = {place: -(np.log(WEIGHTS[place] / 0.3) ** 2) for place in range(1, 5)}

    assert highest(WEIGHTS, quality, max(quality, key=lambda place: quality[place])) == pytest.approx(0.3, rel=0.02)


def test_at_the_end_of_what_was_tried_the_best_is_as_it_was_tried() -> None:
    assert highest(WEIGHTS, {3: 0.1, 4: 0.3}, 4) == WEIGHTS[4]
    assert highest(WEIGHTS, {1: 0.3, 2: 0.2}, 1) == WEIGHTS[1]
