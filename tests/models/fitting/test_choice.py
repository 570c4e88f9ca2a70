"""What is chosen on a part of the data, and how much is tried for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.models.engine.factorization import Factors
from timbral.models.engine.objective import Objective
from timbral.models.engine.sparse_rows import SparseRows, read_rows
from timbral.models.fitting import choice, hidden_part
from timbral.models.fitting.choice import LADDER, Choice, choose
from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.fitting.options import PartOptions


@pytest.fixture(scope="module")
def rows() -> SparseRows:
    """400 users of eight tastes, 300 items."""
    rng = np.random.default_rng(0)
    likes = rng.integers(0, 8, 400)[:, None] == rng.integers(0, 8, 300)[None, :]
    plays = rng.random((400, 300)) < np.where(likes, 0.35, 0.02)
    return read_rows(sparse.csr_matrix(plays.astype(np.float32)), "plays")


def chosen(rows: SparseRows, objective: Objective | None = None, *, n_threads: int = 1) -> Choice:
    resolved = (objective or Objective()).resolved()
    return choose(resolved, PartOptions(), rows, None, n_components=8, seed=0, n_threads=n_threads)


def test_the_choice_and_the_factors_to_start_from_are_the_same_on_any_number_of_threads(rows: SparseRows) -> None:
    one, three = chosen(rows), chosen(rows, n_threads=3)

    assert one.numbers() == three.numbers()
    assert one.factors is not None
    assert three.factors is not None
    assert np.array_equal(one.factors.user, three.factors.user)
    assert np.array_equal(one.factors.item, three.factors.item)


def test_all_steps_of_the_ladder_are_judged_after_as_many_sweeps_from_the_same_factors(
    rows: SparseRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, bytes]] = []
    really = choice.factorize

    def noted(users: object, items: object, factors: Factors, **options: int) -> Factors:
        begun.append((options["max_iter"], factors.item.tobytes()))
        return really(users, items, factors, **options)

    monkeypatch.setattr(choice, "factorize", noted)
    chosen(rows)

    first, *steps = begun
    assert first[0] == choice.SWEEPS
    assert len(steps) >= 2
    assert {sweeps for sweeps, _ in steps} == {choice.FURTHER_SWEEPS}
    assert len({start for _, start in steps}) == 1


def test_a_regularization_that_is_given_is_not_tried_against_others(rows: SparseRows) -> None:
    found = chosen(rows, Objective(regularization=0.77))

    assert found.regularization == 0.77
    assert found.factors is not None


def test_what_was_found_is_drawn_a_fifth_of_the_way_back_to_where_the_search_began(
    rows: SparseRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = chosen(rows).regularization
    monkeypatch.setattr(choice, "SHRINKAGE", 0.0)
    found = chosen(rows).regularization

    assert found > LADDER[choice.FIRST_STEP] * 1.1, "nothing to draw back"
    assert drawn == pytest.approx(found**0.8 * LADDER[choice.FIRST_STEP] ** 0.2, rel=0.02)


def test_in_a_large_catalogue_fewer_users_are_judged(rows: SparseRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_part, "FEWER_JUDGED", 150)
    counts = []
    for most in (rows.n_columns * 390, rows.n_columns * 200, rows.n_columns):
        monkeypatch.setattr(hidden_part, "MAX_SCORES", most)
        part = HiddenPart.of(rows, None, np.random.default_rng(0))
        assert part is not None
        counts.append(len(part.judged))

    assert counts == [390, 200, 150]


def test_what_a_weight_gains_counts_less_half_the_error_that_it_is_known_with() -> None:
    """Given two weights with the same mean gain over none: one's is every user's, the other's that of a few"""
    sure, lucky = np.full(400, 0.30), np.full(400, 0.20)
    lucky[:40] = 1.2
    judged = np.stack([np.full(400, 0.20), sure, lucky], axis=1)
    judged[:, 1:] += np.linspace(-0.001, 0.001, 400)[:, None]

    nothing, certain, uncertain = choice._with_caution(judged)

    assert nothing == pytest.approx(0.20)
    assert certain == pytest.approx(0.30, abs=1e-4)
    assert uncertain == pytest.approx(0.30 - 0.5 * 0.3 / 20, abs=1e-4)


@pytest.mark.parametrize(("errors", "there"), [(-1.5, False), (0.3, True), (2.0, True)])
def test_neighbours_that_lose_more_than_may_be_chance_have_a_weight_of_exactly_0(
    rows: SparseRows, monkeypatch: pytest.MonkeyPatch, errors: float, there: bool
) -> None:
    """Given neighbours of any weight that gain so many standard errors over none"""

    def judged(users: object, items: object, part: HiddenPart, sums: object, gammas: object, *_: object) -> np.ndarray:
        gain = np.random.default_rng(0).normal(size=len(part.judged))
        gain += errors * gain.std() / np.sqrt(len(gain)) - gain.mean()
        quality = np.full((len(gain), 1, np.size(gammas)), 0.3)
        quality[:, 0, 1:] += 0.1 * gain[:, None]
        return quality

    monkeypatch.setattr(choice, "judge", judged)

    weight = chosen(rows).neighbor_weight

    assert (weight > 0.0) if there else (weight == 0.0)
