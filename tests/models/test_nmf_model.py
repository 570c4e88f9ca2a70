"""The model's public promises: arguments, ids, recommendations, files."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from timbral.config.settings import Constants, settings
from timbral.errors import (
    DataError,
    ModelFileError,
    ModelNotFoundError,
    NotFittedError,
    ParameterError,
    TimbralError,
    TrainingError,
)
from timbral.models.nmf_model import NMFModel

N_USERS, N_ITEMS = 50, 40


def plays(n_users: int = N_USERS, n_items: int = N_ITEMS, density: float = 0.15, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sparse.random(n_users, n_items, density, "csr", np.float32, rng)
    matrix.data = np.ceil(rng.lognormal(2, 1.5, matrix.nnz)).astype(np.float32)
    return matrix


def blocks(n_groups: int = 4, users_each: int = 15, items_each: int = 10) -> np.ndarray[Any, Any]:
    """Each group of users plays its own group of items, all but one: that one is what to recommend."""
    matrix = np.kron(np.eye(n_groups), np.ones((users_each, items_each)))
    for user in range(len(matrix)):
        group = user // users_each
        matrix[user, group * items_each + user % items_each] = 0
    return matrix


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    return plays()


@pytest.fixture(scope="module")
def model(matrix: sparse.csr_matrix) -> NMFModel:
    return NMFModel(8).fit(matrix)


class TestMaking:
    def test_defaults_come_from_settings_and_constants(self) -> None:
        model = NMFModel()

        assert (model.n_components, model.random_state) == (settings.NMF_N_COMPONENTS, settings.NMF_RANDOM_STATE)
        assert (model.max_iter, model.tol) == (Constants.NMF_MAX_ITER, Constants.NMF_TOL)
        assert not model.is_fitted
        assert model.user_factors is None

    def test_zero_is_a_value(self) -> None:
        model = NMFModel(random_state=0, tol=0)

        assert (model.random_state, model.tol) == (0, 0.0)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"n_components": 0}, r"n_components must be in \[1, 4096\], got 0"),
            ({"n_components": 2.0}, "n_components must be an int, got 2.0"),
            ({"n_components": True}, "n_components must be an int, got True"),
            ({"max_iter": 0}, r"max_iter must be in \[1, 100000\], got 0"),
            ({"random_state": -1}, "random_state must be in"),
            ({"tol": -1e-3}, r"tol must be in \[0, 1\], got -0.001"),
            ({"tol": float("nan")}, "tol must be in"),
            ({"unobserved_weight": 1.5}, r"unobserved_weight must be in \[0, 1\], got 1.5"),
            ({"confidence": "much"}, "confidence must be a number, got 'much'"),
            ({"regularization": -1}, "regularization must be in"),
            ({"target": "plays"}, "target must be one of"),
            ({"n_threads": -1}, "n_threads must be an int from 0"),
        ],
    )
    def test_a_wrong_argument_is_named_with_what_would_be_right(self, arguments: dict[str, Any], text: str) -> None:
        with pytest.raises(ParameterError, match=text):
            NMFModel(**arguments)

    def test_options_are_keyword_only(self) -> None:
        with pytest.raises(TypeError):
            NMFModel(8, 0, 10, 1e-4, 0.1)


class TestFit:
    def test_gives_factors_of_the_promised_shapes(self, model: NMFModel) -> None:
        assert model.is_fitted
        assert (model.n_users, model.n_items) == (N_USERS, N_ITEMS)
        assert model.user_factors is not None
        assert model.item_factors is not None
        assert model.user_factors.shape == (N_USERS, 8)
        assert model.item_factors.shape == (8, N_ITEMS)
        assert model.user_factors.dtype == model.item_factors.dtype == np.float32
        assert model.user_factors.min() >= 0
        assert model.item_factors.min() >= 0
        assert len(model.training_history) == model.n_iter_ > 1

    def test_finds_what_each_group_is_missing(self) -> None:
        model = NMFModel(8).fit(blocks())

        for user in (0, 16, 37, 59):
            items, scores = model.get_top_recommendations(user, 3)
            assert items[0] == user // 15 * 10 + user % 10
            assert scores[0] > 0.3

    @pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
    def test_takes_any_sparse_form(self, matrix: sparse.csr_matrix, model: NMFModel, form: str) -> None:
        again = NMFModel(8).fit(matrix.asformat(form))

        np.testing.assert_array_equal(again.user_factors, model.user_factors)

    @pytest.mark.parametrize("dtype", ["f8", ">f4", "i8", ">i4", "u2", "f2"])
    def test_takes_any_real_dtype(self, matrix: sparse.csr_matrix, dtype: str) -> None:
        few = matrix.minimum(2000)

        of_dense = NMFModel(4).fit(few.toarray().astype(dtype))
        of_floats = NMFModel(4).fit(few)

        np.testing.assert_array_equal(of_dense.user_factors, of_floats.user_factors)

    def test_takes_bools_sparse_arrays_lists_and_dataframes(self, matrix: sparse.csr_matrix) -> None:
        ones = (matrix.toarray() > 0).astype(float)
        expected = NMFModel(4).fit(ones).user_factors
        frame = pd.DataFrame(ones, index=[f"u{u}" for u in range(N_USERS)])
        mixed = frame.astype({column: pd.SparseDtype(float, 0.0) for column in range(0, N_ITEMS, 2)})

        for other in (
            ones.astype(bool), sparse.csr_array(ones), ones.tolist(), frame, mixed,
            frame.astype(pd.SparseDtype(float, 0.0)), frame.astype(pd.SparseDtype(int, 0)), frame.astype(bool),
        ):  # fmt: skip
            np.testing.assert_array_equal(NMFModel(4).fit(other).user_factors, expected)

    def test_sums_duplicates_and_drops_explicit_zeros_without_touching_the_input(self) -> None:
        rows, columns = np.array([0, 0, 1, 2, 2]), np.array([1, 1, 0, 2, 0])
        values = np.array([1.0, 2.0, 4.0, 5.0, 0.0])
        given = sparse.coo_matrix((values, (rows, columns)), shape=(3, 3)).tocsr()
        unsorted = sparse.csr_matrix((np.array([3.0, 1.0, 2.0, 4.0, 0.0]), [2, 1, 1, 0, 1], [0, 3, 4, 5]), shape=(3, 3))
        before = unsorted.copy()

        NMFModel(2).fit(given)
        model = NMFModel(2).fit(unsorted)

        assert model.n_interactions == 3
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(unsorted, name), getattr(before, name))

    @pytest.mark.parametrize(
        ("value", "what"), [(-1.0, "a negative value"), (np.nan, "a NaN"), (np.inf, "an infinite value")]
    )
    @pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.coo_array, sparse.csc_matrix, pd.DataFrame])
    def test_a_bad_value_is_refused_with_its_place(self, value: float, what: str, form: Any) -> None:
        bad = np.ones((4, 5))
        bad[2, 3] = value

        with pytest.raises(DataError, match=rf"{what} \({value}\) at row 2, column 3") as caught:
            NMFModel(2).fit(form(bad))

        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize(
        ("bad", "text"),
        [
            (np.ones(3), "must be 2-D, got shape"),
            (np.ones((2, 2, 2)), "must be 2-D"),
            (np.zeros((0, 3)), r"is empty: its shape is \(0, 3\)"),
            (np.zeros((3, 0)), "is empty"),
            (np.zeros((3, 3)), "no value is above 0"),
            (pd.DataFrame(), "is empty"),
            (np.array([["a", "b"]]), "real numbers"),
            (np.ones((2, 2)) * 1j, "real numbers"),
            (pd.DataFrame({"x": ["a"]}), "must hold numbers"),
            ([[1, 2], [3]], "must be an ndarray"),
            (np.full((2, 2), 1e300), "too large for 32-bit floats"),
            (None, "must be"),
        ],
    )
    def test_other_bad_data_are_refused(self, bad: Any, text: str) -> None:
        with pytest.raises(DataError, match=text):
            NMFModel(2).fit(bad)

    def test_a_sparse_matrix_whose_indices_lie_is_refused(self) -> None:
        bad = plays()
        bad.indices[3] = 10_000

        bad_pairs = plays().tocoo()
        bad_pairs.row[3] = -1

        for matrix in (bad, bad_pairs):
            with pytest.raises(DataError, match="not a valid sparse matrix"):
                NMFModel(2).fit(matrix)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 200)])
    def test_more_factors_than_rows_or_columns_are_fine(self, shape: tuple[int, int]) -> None:
        model = NMFModel(16).fit(np.ones(shape))

        assert np.isfinite(model.predict([0], [0])).all()
        assert model.predict([0], [0])[0] > 0

    def test_rows_and_columns_without_plays_get_zeros(self) -> None:
        data = plays().toarray()
        data[7] = 0
        data[:, 5] = 0

        model = NMFModel(4).fit(data)

        assert not model.get_user_embeddings([7]).any()
        assert not model.get_item_embeddings([5]).any()

    def test_raw_plays_of_any_size_give_finite_factors(self) -> None:
        data = plays()
        data.data[:5] = [1e30, 1e-30, 3.5e5, 1e12, 1]

        for options in ({}, {"confidence": 0.0}):
            model = NMFModel(4, max_iter=20, **options).fit(data.minimum(1e12) if options else data)
            assert np.isfinite(model.get_user_embeddings(np.arange(N_USERS))).all()

    def test_values_too_large_for_the_sums_are_a_training_error_and_leave_the_model_as_it_was(self) -> None:
        model = NMFModel(2).fit(np.ones((3, 3)))
        before = model.predict([0], [0])

        model.objective = NMFModel(confidence=0, unobserved_weight=1, regularization=0).objective
        with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
            model.fit(np.full((3, 3), 1e38))

        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, TimbralError)
        np.testing.assert_array_equal(model.predict([0], [0]), before)

    def test_same_seed_same_bits_on_one_thread_and_two(self) -> None:
        data = plays(700, 600, 0.05)

        models = [NMFModel(12, 3, 6, n_threads=n).fit(data) for n in (1, 2, 2, 5)]

        for other in models[1:]:
            np.testing.assert_array_equal(other.user_factors, models[0].user_factors)
            np.testing.assert_array_equal(other.item_factors, models[0].item_factors)
            assert other.training_history == models[0].training_history
        assert (NMFModel(12, 4, 6).fit(data).user_factors != models[0].user_factors).any()

    def test_the_callback_sees_each_sweep(self, matrix: sparse.csr_matrix) -> None:
        calls: list[tuple[int, int, float]] = []

        model = NMFModel(4, max_iter=7, tol=0).fit(matrix, callback=lambda *call: calls.append(call))

        assert [loss for _, _, loss in calls] == model.training_history
        assert all(limit == 7 for _, limit, _ in calls)
        assert [i for i, _, _ in calls] == sorted({i for i, _, _ in calls})

    def test_a_callback_that_says_no_ends_the_training_and_leaves_the_model_as_it_was(
        self, matrix: sparse.csr_matrix
    ) -> None:
        model = NMFModel(4)

        with pytest.raises(TrainingError, match="cancelled in sweep 2 of at most 200"):
            model.fit(matrix, callback=lambda iteration, limit, loss: iteration < 2)
        with pytest.raises(TrainingError, match="cancelled in sweep 1"):
            model.fit(matrix, callback=lambda *_: np.bool_(False))
        with pytest.raises(KeyError):
            model.fit(matrix, callback=lambda *call: {}["x"])

        assert not model.is_fitted

    def test_stops_when_the_loss_no_longer_falls(self, matrix: sparse.csr_matrix) -> None:
        early, late = NMFModel(4, tol=1e-2).fit(matrix), NMFModel(4, tol=1e-5).fit(matrix)

        assert early.n_iter_ < late.n_iter_ < 200
        assert early.converged
        assert not NMFModel(4, max_iter=2).fit(matrix).converged


class TestAsking:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda m: m.predict([0], [0]),
            lambda m: m.get_user_embeddings([0]),
            lambda m: m.get_item_embeddings([0]),
            lambda m: m.get_top_recommendations(0),
            lambda m: m.recommend([0]),
            lambda m: m.fold_in(plays()),
            lambda m: m.fold_in_items(plays()),
            lambda m: m.similar_items(0),
            lambda m: m.explain(0, 0),
            lambda m: m.tensors(),
            lambda m: m.save("x"),
        ],
    )
    def test_a_model_that_was_not_fitted_says_so(self, ask: Any) -> None:
        with pytest.raises(NotFittedError, match=r"^Model must be fitted before making predictions$") as caught:
            ask(NMFModel())

        assert isinstance(caught.value, ValueError)

    def test_predictions_are_products_of_factors_in_pairs(self, model: NMFModel) -> None:
        users, items = [3, 0, np.int64(49)], np.array([1, 39, 7], dtype=np.uint8)

        scores = model.predict(users, items)

        assert model.user_factors is not None
        assert model.item_factors is not None
        expected = (model.user_factors @ model.item_factors)[[3, 0, 49], [1, 39, 7]]
        assert scores.shape == (3,)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)

    def test_embeddings_are_rows_and_copies(self, model: NMFModel) -> None:
        vectors = model.get_user_embeddings([4, 4])
        items = model.get_item_embeddings(range(3))

        assert vectors.shape == (2, 8)
        assert items.shape == (3, 8)
        vectors[:] = -1
        assert model.get_user_embeddings([4]).min() >= 0

    def test_no_ids_give_no_rows(self, model: NMFModel) -> None:
        assert model.predict([], []).shape == (0,)
        assert model.get_user_embeddings([]).shape == (0, 8)
        assert len(model.recommend([])) == 0

    @pytest.mark.parametrize("bad", [-1, 50, 2**40])
    def test_a_user_out_of_range_is_told_the_range(self, model: NMFModel, bad: int) -> None:
        for ask in (
            lambda: model.predict([bad], [0]), lambda: model.get_user_embeddings([0, bad]),
            lambda: model.get_top_recommendations(bad), lambda: model.recommend([bad]), lambda: model.explain(bad, 0),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"^User IDs must be in range \[0, 50\)$"):
                ask()

    @pytest.mark.parametrize("bad", [-1, 40])
    def test_an_item_out_of_range_is_told_the_range(self, model: NMFModel, bad: int) -> None:
        for ask in (
            lambda: model.predict([0], [bad]), lambda: model.get_item_embeddings([bad]),
            lambda: model.similar_items(bad), lambda: model.explain(0, bad), lambda: model.recommend(blocked=[bad]),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"^Item IDs must be in range \[0, 40\)$"):
                ask()

    @pytest.mark.parametrize("bad", [[1.0], ["1"], [True], [[1]], [None], np.array([1.5])])
    def test_ids_that_are_no_ints_are_refused(self, model: NMFModel, bad: Any) -> None:
        with pytest.raises(ParameterError, match="user_ids must be"):
            model.predict(bad, [1])

    def test_pairs_of_different_lengths_are_refused(self, model: NMFModel) -> None:
        with pytest.raises(ParameterError, match="equally long, got 2 and 3"):
            model.predict([1, 2], [1, 2, 3])

    @pytest.mark.parametrize("bad", [0, -1, 1.0, True, None])
    def test_a_wrong_top_k_is_refused(self, model: NMFModel, bad: Any) -> None:
        with pytest.raises(ParameterError, match="top_k must be"):
            model.get_top_recommendations(0, bad)


class TestRecommending:
    def test_lists_are_best_first_without_what_was_played(self, model: NMFModel, matrix: sparse.csr_matrix) -> None:
        items, scores = model.get_top_recommendations(3, 10)

        assert len(items) == len(scores) == 10
        assert not set(items.tolist()) & set(matrix[3].indices.tolist())
        np.testing.assert_array_equal(scores, model.predict([3] * 10, items))
        assert (np.diff(scores) <= 0).all()

    def test_fewer_are_left_than_asked_for(self, model: NMFModel, matrix: sparse.csr_matrix) -> None:
        items, _ = model.get_top_recommendations(3, 1000)
        with_seen, _ = model.get_top_recommendations(3, 1000, exclude_seen=False)

        assert len(items) == N_ITEMS - matrix[3].nnz
        assert sorted(with_seen.tolist()) == list(range(N_ITEMS))

    def test_who_has_played_everything_gets_nothing(self) -> None:
        items, scores = NMFModel(2).fit(np.ones((3, 4))).get_top_recommendations(1)

        assert (len(items), len(scores)) == (0, 0)

    def test_many_users_get_what_each_alone_gets(self, model: NMFModel) -> None:
        everybody, some = model.recommend(top_k=7), model.recommend([9, 2], top_k=7)

        assert len(everybody) == N_USERS
        for place, user in enumerate([9, 2]):
            alone = model.get_top_recommendations(user, 7)
            for many in (everybody[user], some[place]):
                np.testing.assert_array_equal(many[0], alone[0])
                np.testing.assert_array_equal(many[1], alone[1])

    def test_block_and_allow_lists_hold_for_all_and_for_each(self, model: NMFModel) -> None:
        best = model.recommend([1, 2], top_k=3)
        first, second = int(best[0][0][0]), int(best[1][0][0])
        own = sparse.csr_matrix(([1.0, 1.0], ([0, 1], [first, second])), shape=(2, N_ITEMS))

        blocked = model.recommend([1, 2], blocked=[first])
        blocked_each = model.recommend([1, 2], blocked_by_user=own)
        allowed = model.recommend([1, 2], allowed=[first, second], exclude_seen=False)
        allowed_each = model.recommend([1, 2], allowed_by_user=own)

        assert first not in blocked[0][0]
        assert first not in blocked[1][0]
        assert first not in blocked_each[0][0]
        assert second not in blocked_each[1][0]
        assert set(allowed[0][0].tolist()) == {first, second}
        assert allowed_each[0][0].tolist() == [first]

    def test_folded_in_vectors_with_what_they_have_seen(self, model: NMFModel, matrix: sparse.csr_matrix) -> None:
        new = matrix[[5, 6]]

        with_seen = model.recommend(user_factors=model.fold_in(new), seen=new, top_k=N_ITEMS)
        without = model.recommend(user_factors=model.fold_in(new), seen=new, exclude_seen=False, top_k=N_ITEMS)

        assert not set(with_seen[0][0].tolist()) & set(new[0].indices.tolist())
        assert len(without[0][0]) == N_ITEMS

    def test_masks_of_another_shape_are_refused(self, model: NMFModel) -> None:
        with pytest.raises(ParameterError, match=r"seen must be a sparse matrix of shape \(1, 40\), got \(50, 40\)"):
            model.recommend([1], seen=plays())
        with pytest.raises(ParameterError, match=r"user_factors must have shape \(n, 8\)"):
            model.recommend(user_factors=np.ones((2, 3)))


class TestFoldIn:
    def test_is_what_the_training_converged_to(self) -> None:
        data = plays(200, 150, 0.1)
        model = NMFModel(6, tol=1e-7, max_iter=2000).fit(data)

        np.testing.assert_allclose(model.fold_in(data), model.user_factors, atol=0.02)
        np.testing.assert_allclose(model.fold_in_items(data.T), model.get_item_embeddings(range(150)), atol=0.02)

    def test_is_a_minimum_of_the_users_loss(self, model: NMFModel, matrix: sparse.csr_matrix) -> None:
        """Against an independent solver, scipy's NNLS of the dense weighted problem."""
        from scipy.optimize import nnls

        items = model.get_item_embeddings(range(N_ITEMS)).astype(np.float64)
        weighting = model._weighting
        assert weighting is not None
        side = weighting.users_side(_rows_of(matrix))
        for user in (0, 11, 29):
            weights = weighting.item_weights.astype(np.float64).copy()
            target = np.full(N_ITEMS, weighting.unobserved_target)
            own = slice(matrix.indptr[user], matrix.indptr[user + 1])
            weights[matrix.indices[own]] = side.confidence[own]
            target[matrix.indices[own]] = side.target[own]
            root = np.sqrt(weights)
            system = np.vstack([root[:, None] * items, np.sqrt(side.l2[user]) * np.eye(8)])
            expected, _ = nnls(system, np.concatenate([root * target, np.zeros(8)]))

            np.testing.assert_allclose(model.fold_in(matrix[user])[0], expected, atol=1e-3)

    def test_nobody_and_nothing_played_give_zeros(self, model: NMFModel) -> None:
        assert not model.fold_in(np.zeros((2, N_ITEMS))).any()

    def test_does_not_depend_on_the_company(self, model: NMFModel, matrix: sparse.csr_matrix) -> None:
        together = model.fold_in(matrix)

        np.testing.assert_array_equal(model.fold_in(matrix[17]), together[17:18])

    def test_another_number_of_items_is_refused(self, model: NMFModel) -> None:
        with pytest.raises(DataError, match="user_items must have 40 columns"):
            model.fold_in(np.ones((1, 39)))
        with pytest.raises(DataError, match="users_per_item must have 50 columns"):
            model.fold_in_items(np.ones((1, 39)))


class TestSimilarAndWhy:
    def test_items_of_a_group_are_alike(self) -> None:
        model = NMFModel(8).fit(blocks())

        items, scores = model.similar_items(13, 5)

        assert set((items // 10).tolist()) == {1}
        assert 13 not in items
        assert (scores > 0.75).all()
        assert (scores < 1).all()

    def test_an_item_that_nobody_played_is_like_none(self) -> None:
        data = plays().toarray()
        data[:, 5] = 0

        items, scores = NMFModel(4).fit(data).similar_items(5)

        assert (len(items), len(scores)) == (0, 0)

    def test_contributions_are_not_negative_and_add_up(self, model: NMFModel, matrix: sparse.csr_matrix) -> None:
        for user in range(10):
            item = int(model.get_top_recommendations(user, 1)[0][0])

            items, parts = model.explain(user, item, N_ITEMS)

            assert set(items.tolist()) <= set(matrix[user].indices.tolist())
            assert (parts > 0).all()
            assert (np.diff(parts) <= 0).all()
            assert parts.sum() == pytest.approx(model.predict([user], [item])[0], rel=1e-4)

    def test_the_own_group_explains(self) -> None:
        model = NMFModel(8).fit(blocks() + 0.0)

        items, _ = model.explain(16, 11, 3)

        assert set((items // 10).tolist()) == {1}


class TestClassicWithManyFactors:
    def test_folding_in_finds_what_the_training_found_and_the_loss_is_never_negative(self) -> None:
        rng = np.random.default_rng(0)
        data = (rng.random((60, 3)) @ rng.random((3, 25))).astype(np.float32)
        model = NMFModel(20, 0, 500, 1e-7, unobserved_weight=1, confidence=0, regularization=0).fit(data)

        folded = model.fold_in(data) @ model.item_factors

        trained = float(np.square(model.user_factors @ model.item_factors - data).sum())
        assert float(np.square(folded - data).sum()) < 2 * trained + 1e-3
        assert min(model.training_history) >= 0


class TestFiles:
    def test_a_loaded_model_answers_as_the_saved_one(
        self, model: NMFModel, matrix: sparse.csr_matrix, tmp_path: Path
    ) -> None:
        path = tmp_path / "models" / "new" / "production_model.pkl"
        model.save(path)

        loaded = NMFModel().load(str(path))

        assert loaded.is_fitted
        assert loaded.parameters() == model.parameters()
        assert (loaded.training_history, loaded.converged) == (model.training_history, model.converged)
        np.testing.assert_array_equal(loaded.user_factors, model.user_factors)
        np.testing.assert_array_equal(loaded.get_top_recommendations(3)[0], model.get_top_recommendations(3)[0])
        np.testing.assert_array_equal(loaded.fold_in(matrix), model.fold_in(matrix))
        np.testing.assert_array_equal(loaded.fold_in_items(matrix.T), model.fold_in_items(matrix.T))
        np.testing.assert_array_equal(loaded.explain(3, 5)[1], model.explain(3, 5)[1])
        np.testing.assert_array_equal(loaded.similar_items(3)[1], model.similar_items(3)[1])

    def test_a_loaded_models_arrays_are_shared_pages(self, model: NMFModel, tmp_path: Path) -> None:
        model.save(tmp_path / "m")

        loaded = NMFModel().load(tmp_path / "m")

        assert loaded.user_factors is not None
        assert not loaded.user_factors.flags.writeable
        assert not loaded.user_factors.flags.owndata

    def test_a_loaded_model_can_be_saved_and_fitted_again(self, model: NMFModel, tmp_path: Path) -> None:
        model.save(tmp_path / "m")
        loaded = NMFModel().load(tmp_path / "m")

        loaded.save(tmp_path / "m")
        refitted = NMFModel().load(tmp_path / "m").fit(plays())

        np.testing.assert_array_equal(refitted.user_factors, model.user_factors)

    def test_no_file_a_foreign_file_and_a_damaged_one_are_told_apart(self, model: NMFModel, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError) as missing:
            NMFModel().load(tmp_path / "none.pkl")
        assert isinstance(missing.value, FileNotFoundError)

        (tmp_path / "foreign.pkl").write_bytes(b"\x80\x04\x95 a pickle")
        with pytest.raises(ModelFileError, match=r"foreign\.pkl"):
            NMFModel().load(tmp_path / "foreign.pkl")

    def _refuses(self, tmp_path: Path, arrays: dict[str, Any], texts: dict[str, str], problem: str) -> None:
        from timbral.models.file import model_file

        model_file.write(tmp_path / "other.bin", arrays, texts)
        fitted = NMFModel(2).fit(np.ones((2, 2)))
        with pytest.raises(ModelFileError, match=rf"other\.bin: .*{problem}"):
            fitted.load(tmp_path / "other.bin")
        assert fitted.n_users == 2

    def test_a_file_whose_arrays_do_not_fit_is_refused(self, tmp_path: Path) -> None:
        arrays, texts = NMFModel(6, 3, 20, regularization=0.3, neighbor_weight=0.5).fit(plays()).tensors()

        self._refuses(tmp_path, arrays, {**texts, "kind": "als"}, "its kind is 'als'")
        self._refuses(tmp_path, arrays, {**texts, "model": "{"}, "not one of a model")
        self._refuses(tmp_path, arrays, {**texts, "model": "[" * 100_000}, "not one of a model")
        self._refuses(tmp_path, arrays, {**texts, "model": "[]"}, "not one of a model")
        for name in arrays:
            if name not in ("item_gram", "item_pull", "training_history"):
                without = {other: array for other, array in arrays.items() if other != name}
                self._refuses(tmp_path, without, texts, f"no {name}")
                short = {**arrays, name: arrays[name][:-1]}
                self._refuses(tmp_path, short, texts, "its ")
        self._refuses(tmp_path, {**arrays, "user_factors": arrays["user_factors"].astype(np.float64)}, texts, "float64")
        falling = arrays["seen_indptr"].copy()
        falling[1] = 10_000
        self._refuses(tmp_path, {**arrays, "seen_indptr": falling}, texts, "does not rise")
        strange = arrays["neighbor_items"].copy()
        strange[0] = N_ITEMS
        self._refuses(tmp_path, {**arrays, "neighbor_items": strange}, texts, "neighbor_items are not all in")

    def test_tensors_make_the_same_model(self, model: NMFModel) -> None:
        other = NMFModel.from_tensors(*model.tensors())

        np.testing.assert_array_equal(other.recommend().item_indices, model.recommend().item_indices)


def _rows_of(matrix: sparse.csr_matrix) -> Any:
    from timbral.models.engine.sparse_rows import read_rows

    return read_rows(matrix, "matrix")


def _fit_in_child(seed: int) -> float:
    return NMFModel(6, seed, 5, n_threads=2).fit(plays(300, 200)).training_history[-1]


class TestProcessesAndThreads:
    def test_a_child_of_a_process_that_has_fitted_can_fit(self) -> None:
        expected = _fit_in_child(1)

        with multiprocessing.get_context("fork").Pool(2) as pool:
            answers = pool.map_async(_fit_in_child, [1, 1, 1]).get(timeout=60)

        assert answers == [expected] * 3

    def test_fits_side_by_side_in_threads_do_not_disturb_each_other(self) -> None:
        expected = [_fit_in_child(seed) for seed in (1, 2)]

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(_fit_in_child, [1, 2, 1, 2])) == expected * 2
