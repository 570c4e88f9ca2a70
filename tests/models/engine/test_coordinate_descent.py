"""The kernels: properties that hold for any data, and known right answers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from timbral.models.engine.gram import gram
from timbral.models.engine.side_by_side import MOST_FEW as FEW
from timbral.models.kernels.threads import Threads, spans
from timbral.models.nmf_model import NMFModel

CLASSIC: dict[str, Any] = {"unobserved_weight": 1.0, "confidence": 0.0, "regularization": 0.0}


@st.composite
def data(draw: st.DrawFn) -> sparse.csr_matrix:
    n_users, n_items = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    filled = rng.random((n_users, n_items)) < draw(st.sampled_from([0.02, 0.2, 0.7, 1.0]))
    filled[0, 0] = True
    kind = draw(st.sampled_from(["plays", "ratings", "ones"]))
    values = {
        "plays": np.ceil(rng.lognormal(3, 2.5, filled.shape)),
        "ratings": rng.integers(1, 6, filled.shape),
        "ones": np.ones(filled.shape),
    }[kind]
    return sparse.csr_matrix(np.where(filled, values, 0).astype(np.float32))


options = st.fixed_dictionaries(
    {},
    optional={
        "unobserved_weight": st.sampled_from([0.0, 0.01, 0.3, 1.0]),
        "unobserved_target": st.sampled_from([0.0, 0.4, 3.0]),
        "popularity_exponent": st.sampled_from([0.0, 0.5, 1.0]),
        "confidence": st.sampled_from([0.0, 0.5, 10.0]),
        "target": st.sampled_from(["one", "log", "value"]),
        "regularization": st.sampled_from([0.0, 0.1, 2.0]),
        "regularization_exponent": st.sampled_from([0.0, 1.0]),
        "l1_regularization": st.sampled_from([0.0, 0.05]),
    },
)


def dense_loss(model: NMFModel, matrix: sparse.csr_matrix) -> float:
    """The objective as its definition says it, over all cells, in double precision."""
    weighting = model._weighting
    assert weighting is not None
    from timbral.models.engine.sparse_rows import read_rows

    rows = read_rows(matrix, "matrix")
    users, items = weighting.users_side(rows), weighting.items_side(rows.transposed())
    user, item = (f.astype(np.float64) for f in (model._users(), model._items()))
    weights = np.outer(users.weight, weighting.item_weights).astype(np.float64)
    target = np.full(matrix.shape, weighting.unobserved_target)
    place = np.repeat(np.arange(rows.n_rows), np.diff(rows.indptr)), rows.indices
    weights[place], target[place] = users.confidence, users.target
    l1 = model.objective.l1_regularization
    return float(
        (weights * (target - user @ item.T) ** 2).sum()
        + (users.l2 * (user**2).sum(1)).sum()
        + (items.l2 * (item**2).sum(1)).sum()
        + 2 * l1 * (user.sum() + item.sum())
    )


@given(data(), options, st.integers(1, 12), st.integers(0, 3))
def test_factors_are_never_negative_and_the_loss_never_rises_and_is_exact(
    matrix: sparse.csr_matrix, chosen: dict[str, Any], n_components: int, seed: int
) -> None:
    model = NMFModel(n_components, seed, 25, 0.0, n_threads=1, **chosen).fit(matrix)

    history = np.array(model.training_history)
    scale = max(history[0], float((model._weighting.users_side(_rows(matrix)).target ** 2).sum()))
    assert model._users().min() >= 0
    assert model._items().min() >= 0
    assert np.isfinite(model._users()).all()
    assert (np.diff(history) <= 2e-6 * scale).all()
    assert history[-1] == pytest.approx(dense_loss(model, matrix), rel=1e-3, abs=3e-5 * scale)


def _rows(matrix: sparse.csr_matrix) -> Any:
    from timbral.models.engine.sparse_rows import read_rows

    return read_rows(matrix, "matrix")


@settings(max_examples=15)
@given(st.integers(0, 2**16), st.integers(20, 60), st.integers(20, 60), st.sampled_from([0.1, 0.5, 1.0]))
def test_without_weights_it_is_classic_nmf_and_as_good_as_scikit_learn(
    seed: int, n_users: int, n_items: int, density: float
) -> None:
    # Here, as its import takes seconds, and each process that collects the tests would take them.
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    matrix = sparse.random(n_users, n_items, density, "csr", np.float32, np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peers = [NMF(3, init="random", random_state=s, max_iter=400, tol=1e-6) for s in range(4)]
        theirs = min(peer.fit(matrix).reconstruction_err_ ** 2 for peer in peers)

    ours = [NMFModel(3, s, 400, 1e-7, n_threads=1, **CLASSIC).fit(matrix) for s in range(4)]

    # Both find local minima; the best of four starts of each are about as good.
    assert min(model.training_history[-1] for model in ours) <= theirs * 1.02
    best = ours[0]
    error = np.linalg.norm(matrix.toarray() - best._users() @ best._items().T) ** 2
    assert best.training_history[-1] == pytest.approx(error, rel=1e-3)


def test_a_checker_board_is_found_exactly() -> None:
    board = (np.indices((30, 20)).sum(0) % 2).astype(np.float32)

    model = NMFModel(2, max_iter=500, tol=0, **CLASSIC).fit(board)

    np.testing.assert_allclose(model._users() @ model._items().T, board, atol=1e-2)


@pytest.mark.parametrize("n_entries", [1, 5, FEW, FEW + 1, 700, 3000])
def test_a_row_of_any_length_is_solved(n_entries: int) -> None:
    rng = np.random.default_rng(0)
    matrix = sparse.random(60, 3000, 0.02, "csr", np.float32, rng)
    model = NMFModel(70, 0, 3, n_threads=1).fit(matrix)
    row = np.zeros((1, 3000), np.float32)
    row[0, :n_entries] = 1

    vector = model.fold_in(row)[0].astype(np.float64)

    weighting = model._weighting
    assert weighting is not None
    side = weighting.users_side(_rows(sparse.csr_matrix(row)))
    weights = weighting.item_weights.astype(np.float64)
    target = np.full(3000, weighting.unobserved_target)
    weights[:n_entries], target[:n_entries] = side.confidence, 1
    items = model._items().astype(np.float64)
    slope = items.T @ (weights * (items @ vector - target)) + side.l2[0] * vector
    scale = float(np.abs(items.T @ (weights * target)).max())
    assert (slope > -1e-3 * scale).all()  # no factor can be raised for less loss
    assert np.abs(slope[vector > 0]).max(initial=0) < 1e-3 * scale  # and none in use can be moved at all


@pytest.mark.parametrize("n_rows", [0, 1, 3, 511, 513, 40_000])
def test_gram_and_sum_are_the_same_to_the_bit_on_any_number_of_threads(n_rows: int) -> None:
    rng = np.random.default_rng(0)
    factors = rng.random((n_rows, 13), dtype=np.float32) * (rng.random((n_rows, 13)) < 0.5)
    weights = rng.random(n_rows, dtype=np.float32)

    sums = []
    for n_threads in (1, 2, 3):
        with Threads(n_threads) as threads:
            sums.append(gram(factors, weights, threads))

    expected = factors.T.astype(np.float64) @ (weights[:, None].astype(np.float64) * factors)
    np.testing.assert_allclose(sums[0][0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sums[0][1], weights.astype(np.float64) @ factors, rtol=1e-4, atol=1e-6)
    for products, total in sums[1:]:
        np.testing.assert_array_equal(products, sums[0][0])
        np.testing.assert_array_equal(total, sums[0][1])


@given(st.lists(st.integers(0, 50), max_size=60), st.floats(0, 100), st.integers(1, 20))
def test_spans_cover_each_row_once(lengths: list[int], row_cost: float, n_spans: int) -> None:
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)

    cut = spans(indptr, row_cost, n_spans)

    assert [row for start, stop in cut for row in range(start, stop)] == list(range(len(lengths)))


def test_an_error_in_a_thread_is_raised_by_the_caller() -> None:
    def fail(start: int, stop: int) -> None:
        raise ZeroDivisionError(start, stop)

    for n_threads in (1, 3):
        with Threads(n_threads) as threads, pytest.raises(ZeroDivisionError):
            threads.run(fail, [(0, 1), (1, 2)])
