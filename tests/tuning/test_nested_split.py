"""The rows that a search is judged on at the end are none of those that its trials see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from taste import interactions

from timbral.errors import DataError
from timbral.logic.split import Parts, Split
from timbral.tuning.nested_split import N_FOLDS, NestedSplit, aged, first_look


def entries(matrix: sparse.csr_matrix) -> set[tuple[int, int]]:
    return set(zip(*map(np.ndarray.tolist, matrix.nonzero()), strict=True))


@pytest.mark.parametrize("with_times", [False, True])
def test_no_trial_sees_a_row_of_the_outer_part(with_times: bool) -> None:
    data = interactions(with_times=with_times)

    nested = NestedSplit.of(data, 0.2)

    outer = entries(nested.outer.held_out)
    assert len(outer) > 100
    assert entries(nested.outer.train) | outer == entries(data.matrix)
    for fold in nested.folds:
        seen = entries(fold.train) | entries(fold.held_out)
        assert not seen & outer
        assert not entries(fold.train) & entries(fold.held_out)
        assert entries(fold.held_out)


def test_folds_hold_out_other_rows_or_go_back_in_time() -> None:
    random, timed = (NestedSplit.of(interactions(with_times=with_times), 0.2) for with_times in (False, True))

    held_out = [entries(fold.held_out) for fold in random.folds]
    assert len(held_out[0] & held_out[1]) < len(held_out[0]) / 2
    for newer, older in zip(timed.folds, timed.folds[1:], strict=False):
        assert entries(older.train) | entries(older.held_out) == entries(newer.train)
        assert older.times is not None
        assert len(older.times) == older.train.nnz


def test_the_outer_part_is_what_a_training_holds_out() -> None:
    data = interactions()
    split = Split.of(data, 0.2)
    assert split is not None

    assert entries(NestedSplit.of(data, 0.2).outer.held_out) == entries(split.apply(data).held_out)


@pytest.mark.parametrize("n_users", [1, 12])
def test_few_users_are_refused_with_what_is_needed(n_users: int) -> None:
    with pytest.raises(DataError, match=rf"of {n_users} users .* needs 20 or more"):
        NestedSplit.of(interactions(n_users), 0.2)


def test_a_first_look_at_large_data_has_some_users_with_all_that_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = NestedSplit.of(interactions(with_times=True), 0.2).folds[0]
    monkeypatch.setattr("timbral.tuning.nested_split.MAX_ENTRIES", fold.train.nnz // 2)

    part = first_look(fold, 0)

    assert isinstance(part, Parts)
    assert part.times is not None
    assert 20 <= part.train.shape[0] < fold.train.shape[0]
    assert part.train.shape[0] == part.held_out.shape[0]
    assert len(part.times) == part.train.nnz <= fold.train.nnz // 2


def test_entries_count_half_for_each_half_life_that_they_are_old() -> None:
    outer = NestedSplit.of(interactions(with_times=True), 0.2).outer
    assert outer.times is not None
    day_us = 86_400_000_000
    dated = outer._replace(times=outer.times.max() - day_us * (np.arange(outer.train.nnz) % 3) * 10)

    half = aged(dated, 10.0)

    assert half.train.data == pytest.approx(outer.train.data * 0.5 ** (np.arange(outer.train.nnz) % 3))
    assert aged(dated, None) is dated


def test_small_data_have_more_folds_for_the_end_and_those_in_time_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    small, timed = (NestedSplit.of(interactions(with_times=with_times), 0.2) for with_times in (False, True))
    monkeypatch.setattr("timbral.tuning.nested_split.MAX_ENTRIES", small.outer.train.nnz - 1)
    larger = NestedSplit.of(interactions(), 0.2)

    assert [len(one.folds) - N_FOLDS for one in (small, larger, timed)] == [6, 3, 0]
