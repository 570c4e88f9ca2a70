from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.models.engine.sparse_rows import read_rows
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors import co_plays, neighbors
from timbral.models.neighbors.co_plays import CoPlays
from timbral.models.neighbors.neighbors import RARITY, Neighbors
from timbral.models.neighbors.non_negative_fit import TOL
from timbral.models.neighbors.short_floats import LEFT_OUT


def played(n_users: int = 150, n_items: int = 40, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    chance = rng.random(n_items) ** 3
    return sparse.csr_matrix((rng.random((n_users, n_items)) < 0.1 + 0.4 * chance).astype(np.float32))


def lengthened(short: np.ndarray) -> np.ndarray:
    return (short.astype(np.uint32) << LEFT_OUT).view(np.float32)


def fitted(matrix: sparse.csr_matrix, n: int, regularization: float, n_threads: int = 1) -> sparse.csr_matrix:
    with Threads(n_threads) as threads:
        made = Neighbors.fit(read_rows(matrix, "matrix"), n, [regularization], 0, threads)[0]
    return sparse.csr_matrix((made.weights, made.items, made.indptr), shape=(made.n_items, made.n_items))


def co_play_matrix(matrix: sparse.csr_matrix) -> np.ndarray:
    dense = (matrix.toarray() > 0).astype(np.float64)
    weight = np.maximum(dense.sum(axis=1), 1) ** -0.5
    return (dense * weight[:, None]).T @ dense


def test_weights_are_the_best_that_are_not_negative() -> None:
    from scipy.optimize import nnls

    matrix = played()
    gram = co_play_matrix(matrix)
    n_items = len(gram)
    ridge = 2.0 * np.diag(gram).mean()
    fame = 1 + matrix.getnnz(axis=0)

    found = fitted(matrix, n_items, 2.0).toarray()

    for item in range(n_items):
        others = np.flatnonzero(np.arange(n_items) != item)
        # The least squares of the same normal equations.
        root = np.linalg.cholesky(gram[np.ix_(others, others)] + ridge * np.eye(len(others)))
        wanted = nnls(root.T, np.linalg.solve(root, gram[others, item]))[0]
        wanted *= (fame[item] / fame.mean()) ** -RARITY
        np.testing.assert_allclose(found[others, item], wanted, atol=1.2 * TOL * wanted.max())
        assert found[item, item] == 0


def test_no_item_has_more_that_speak_for_it_than_asked_for() -> None:
    found = fitted(played(), 7, 2.0)

    assert 0 < found.getnnz(axis=0).max() <= 7
    assert (found.data > 0).all()


def test_are_the_same_on_any_number_of_threads() -> None:
    matrix = played(600, 700)

    one, three = fitted(matrix, 20, 1.0), fitted(matrix, 20, 1.0, n_threads=3)

    np.testing.assert_array_equal(one.indices, three.indices)
    np.testing.assert_array_equal(one.data, three.data)


def test_several_regularizations_at_once_give_what_each_gives_alone() -> None:
    matrix = played()
    with Threads(1) as threads:
        together = Neighbors.fit(read_rows(matrix, "matrix"), 20, [1.0, 3.0], 0, threads)

    for regularization, made in zip((1.0, 3.0), together, strict=True):
        found = sparse.csr_matrix((made.weights, made.items, made.indptr), shape=(40, 40)).toarray()
        alone = fitted(matrix, 20, regularization).toarray()
        np.testing.assert_allclose(found, alone, atol=0.02 * alone.max())


def test_a_row_of_co_plays_holds_the_most_alike_its_candidates_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(co_plays, "ROW", 9)
    matrix = played()
    gram = co_play_matrix(matrix)

    with Threads(1) as threads:
        found = CoPlays.of(read_rows(matrix, "matrix"), 5, 0, threads)

    np.testing.assert_allclose(found.diagonal, np.diag(gram), rtol=1e-5)
    assert (found.lengths == 9).all()
    for item, row in enumerate(found.items):
        likeness = gram[item] / np.sqrt(np.diag(gram))
        likeness[item] = -1
        best = np.sort(likeness)[::-1]
        np.testing.assert_allclose(np.sort(likeness[row[:5]])[::-1], best[:5], rtol=1e-5)
        np.testing.assert_allclose(np.sort(likeness[row])[::-1], best[:9], rtol=1e-5)
        np.testing.assert_allclose(lengthened(found.values[item]), gram[item][row], rtol=2**-8)


def test_plays_count_among_co_plays_where_they_are_told_to() -> None:
    matrix = played()
    matrix.data = np.random.default_rng(1).pareto(0.5, matrix.nnz).astype(np.float32) + np.float32(1.0)
    entries = matrix.toarray().astype(np.float64) ** 0.5
    n = (entries > 0).sum(axis=1)
    entries /= np.sqrt((entries**2).sum(axis=1) / n)[:, None]
    entries[entries > 0] = np.maximum(entries[entries > 0], co_plays.LEAST_ENTRY)
    gram = (entries * n[:, None] ** -0.5).T @ entries

    with Threads(1) as threads:
        found = CoPlays.of(read_rows(matrix, "matrix"), 39, 0, threads, play_exponent=0.5)

    np.testing.assert_allclose(found.diagonal, np.diag(gram), rtol=1e-4)
    for item, (row, length) in enumerate(zip(found.items, found.lengths.tolist(), strict=True)):
        np.testing.assert_allclose(lengthened(found.values[item, :length]), gram[item][row[:length]], rtol=2**-8)


def test_plays_that_are_all_alike_or_beyond_all_measure_change_no_pair() -> None:
    matrix = played()
    extreme = matrix.copy()
    extreme.data[::7] = np.float32(3e38)
    extreme.data[1::7] = np.float32(1e-37)
    with Threads(1) as threads:
        plain, alike, wild = (
            CoPlays.of(read_rows(one, "matrix"), 39, 0, threads, play_exponent=exponent)
            for one, exponent in ((matrix, 0.0), (matrix, 0.5), (extreme, 4.0))
        )

    np.testing.assert_allclose(alike.diagonal, plain.diagonal, rtol=1e-5)
    np.testing.assert_array_equal(alike.lengths, plain.lengths)
    np.testing.assert_array_equal(wild.lengths, plain.lengths)
    assert np.isfinite(wild.diagonal).all()
    assert all((row[:length] > 0).all() for row, length in zip(wild.values, wild.lengths.tolist(), strict=True))


def test_of_very_many_scores_of_all_sizes_the_best_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # A chain of users: what the first item shares with the others falls by far more than 16 octaves, with many ties.
    monkeypatch.setattr(co_plays, "USER_EXPONENT", 12.0)
    n_items = 60
    rows = [np.isin(np.arange(n_items), [0, *range(first, min(first + size, n_items))]) for size in (2, 3, 5, 9, 30)
            for first in range(1, n_items, size)]  # fmt: skip
    matrix = sparse.csr_matrix(np.array(rows, np.float32))
    weight = np.asarray(matrix.sum(axis=1)).ravel() ** -12.0
    shared = np.asarray(matrix.multiply(weight[:, None]).T @ matrix.toarray())
    likeness = shared[0] / np.sqrt(np.diag(shared))
    likeness[0] = 0

    with Threads(1) as threads:
        found = CoPlays.of(read_rows(matrix, "matrix"), 7, 0, threads)

    np.testing.assert_allclose(np.sort(likeness[found.items[0, :7]]), np.sort(likeness)[-7:], rtol=1e-4)
    np.testing.assert_allclose(np.sort(likeness[found.items[0, :35]]), np.sort(likeness)[-35:], rtol=1e-4)


def test_of_two_candidates_what_they_share_is_found_in_the_row_of_either(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.optimize import nnls

    monkeypatch.setattr(co_plays, "ROW", 9)
    matrix = played()
    gram = co_play_matrix(matrix)
    n_items = len(gram)
    with Threads(1) as threads:
        table = CoPlays.of(read_rows(matrix, "matrix"), 5, 0, threads)
    kept = np.zeros_like(gram, dtype=bool)
    kept[np.arange(n_items)[:, None], table.items] = True
    assert (kept != kept.T).any()
    known = gram * (kept | kept.T | np.eye(n_items, dtype=bool))
    fame = 1 + matrix.getnnz(axis=0)

    found = fitted(matrix, 5, 2.0).toarray()

    for item in range(n_items):
        others = table.items[item, :5]
        root = np.linalg.cholesky(known[np.ix_(others, others)] + 2.0 * np.diag(gram).mean() * np.eye(5))
        wanted = nnls(root.T, np.linalg.solve(root, gram[others, item]))[0] * (fame[item] / fame.mean()) ** -RARITY
        np.testing.assert_allclose(found[others, item], wanted, atol=1.2 * TOL * wanted.max())


def test_are_the_same_whatever_items_stand_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = played(600, 700)
    together = fitted(matrix, 20, 1.0)

    monkeypatch.setattr(neighbors, "GRAM_BYTES", 1)
    alone = fitted(matrix, 20, 1.0)

    np.testing.assert_array_equal(together.indices, alone.indices)
    np.testing.assert_array_equal(together.data, alone.data)


def test_of_a_user_of_very_many_items_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(co_plays, "MOST_OF_A_USER", 10)
    matrix = sparse.vstack([played(), np.ones((1, 40), np.float32)]).tocsr()

    with Threads(1) as threads:
        found = CoPlays.of(read_rows(matrix, "matrix"), 5, 0, threads)

    assert found.diagonal.sum() == pytest.approx(
        sum(min(n, 10) * min(n, 10) ** -0.5 for n in np.diff(matrix.indptr).tolist()), rel=1e-5
    )


def test_an_item_that_nobody_played_speaks_for_none_and_none_for_it() -> None:
    matrix = played().tolil()
    matrix[:, 3] = 0

    found = fitted(matrix.tocsr(), 20, 2.0)

    assert found[3].nnz == found[:, 3].nnz == 0
