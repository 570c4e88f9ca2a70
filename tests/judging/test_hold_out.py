from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.errors import ParameterError
from timbral.judging.hold_out import hold_out, hold_out_last, with_ties_broken


def matrix_of(row_lengths: list[int], seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(60, size=length, replace=False)) for length in row_lengths]
    indptr = np.concatenate([[0], np.cumsum(row_lengths)])
    columns = np.concatenate([*rows, np.empty(0)]).astype(np.int32)
    values = rng.integers(1, 9, len(columns)).astype(np.float32)
    return sparse.csr_matrix((values, columns, indptr), shape=(len(row_lengths), 60))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.floats(0, 0.99), st.integers(0, 2**32 - 1))
def test_train_and_held_out_add_up_and_everyone_keeps_something(lengths: list[int], share: float, seed: int) -> None:
    matrix = matrix_of(lengths)

    train, held_out = hold_out(matrix, share, seed)

    assert (train + held_out != matrix).nnz == 0
    assert train.multiply(held_out).nnz == 0
    n_held = np.diff(held_out.indptr)
    assert n_held.tolist() == [max(0, min(int(length * share + 0.5), length - 1)) for length in lengths]
    assert train.dtype == held_out.dtype == np.float32
    assert train.shape == held_out.shape == matrix.shape


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    matrix = matrix_of([50] * 20)

    first, again, other = (hold_out(matrix, 0.2, seed)[1] for seed in (1, 1, 2))

    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_the_newest_are_held_out_where_times_are_given() -> None:
    matrix = matrix_of([4, 1, 5])
    times = np.array([3, 9, 1, 7, 5, 10, 50, 30, 20, 40])

    train, held_out = hold_out(matrix, 0.4, 0, times)

    assert held_out.indices.tolist() == [*matrix.indices[[1, 3]], *matrix.indices[[6, 9]]]
    assert train.nnz == 6


def test_the_whole_range_of_int64_is_a_time() -> None:
    matrix = matrix_of([3])
    times = np.array([0, -(2**63), 2**63 - 1])

    assert hold_out_last(matrix, times, 0)[1].indices.tolist() == [matrix.indices[2]]
    assert hold_out_last(matrix, times, 0, n_last=2)[0].indices.tolist() == [matrix.indices[1]]


def test_equal_times_are_decided_by_the_seed() -> None:
    matrix = matrix_of([30] * 10)
    times = np.zeros(matrix.nnz, dtype=np.int64)

    assert (hold_out(matrix, 0.2, 1, times)[1] != hold_out(matrix, 0.2, 2, times)[1]).nnz > 0
    assert (hold_out(matrix, 0.2, 1, times)[1] != hold_out(matrix, 0.2, 1, times)[1]).nnz == 0


def test_the_last_is_left_out_and_a_single_entry_stays() -> None:
    matrix = matrix_of([3, 1, 2])
    times = np.array([1, 3, 2, 9, 5, 4])

    _, held_out = hold_out_last(matrix, times, 0)

    assert np.diff(held_out.indptr).tolist() == [1, 0, 1]
    assert held_out.indices.tolist() == [matrix.indices[1], matrix.indices[4]]


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ParameterError, match="share"):
        hold_out(matrix_of([3]), share, 0)


def test_times_of_another_length_are_refused() -> None:
    with pytest.raises(ParameterError, match="one value per stored entry: 3, got 2"):
        hold_out(matrix_of([3]), 0.5, 0, np.array([1, 2]))
    with pytest.raises(ParameterError, match="n_last"):
        hold_out_last(matrix_of([3]), np.array([1, 2, 3]), 0, n_last=0)


def test_blocks_of_rows_do_not_change_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of([7, 0, 30, 1, 0, 12, 5, 0])
    times = np.arange(matrix.nnz) * 7 % 11
    whole = [hold_out(matrix, 0.3, 5), hold_out(matrix, 0.3, 5, times)]

    monkeypatch.setattr("timbral.judging.hold_out.ENTRIES_PER_BLOCK", 10)

    blocks = [hold_out(matrix, 0.3, 5), hold_out(matrix, 0.3, 5, times)]
    for (_, first), (_, second) in zip(whole, blocks, strict=True):
        assert first.indices.tolist() == second.indices.tolist()
        assert first.indptr.tolist() == second.indptr.tolist()


def test_of_entries_of_one_moment_the_same_are_held_out_when_others_come() -> None:
    matrix = matrix_of([40] * 30)
    ids = IdIndex(list(range(30))), IdIndex(list(range(60)))
    times = np.zeros(matrix.nnz, np.int64)
    more = sparse.vstack([matrix_of([50] * 5, seed=1), matrix]).tocsr()
    more_ids = IdIndex([*range(100, 105), *range(30)])
    more_times = np.concatenate([np.arange(250), times])

    held = hold_out(matrix, 0.2, 0, with_ties_broken(times, matrix, *ids))[1]
    later = hold_out(more, 0.2, 0, with_ties_broken(more_times, more, more_ids, ids[1]))[1][5:]

    assert held.nnz == later.nnz == 240
    assert held.multiply(later > 0).nnz >= 0.97 * held.nnz


def test_breaking_ties_keeps_the_order_of_times() -> None:
    matrix = matrix_of([50] * 20)
    times = np.random.default_rng(0).integers(0, 50, matrix.nnz) + 1_764_000_000_000_000

    broken = with_ties_broken(times, matrix, IdIndex(list(range(20))), IdIndex(list(range(60))))

    earlier, later = np.triu_indices(200, 1)
    assert ((times[earlier] < times[later]) <= (broken[earlier] < broken[later])).all()
    assert len(np.unique(broken)) > 0.9 * matrix.nnz
