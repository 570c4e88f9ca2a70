"""Predictions and embeddings, and what is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from play_matrices import plays

from timbral.errors import (
    NotFittedError,
    ParameterError,
)
from timbral.models.nmf_model import NMFModel


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
def test_a_model_that_was_not_fitted_says_so(ask: Any) -> None:
    with pytest.raises(NotFittedError, match=r"^Model must be fitted before making predictions$") as caught:
        ask(NMFModel())

    assert isinstance(caught.value, ValueError)


def test_predictions_are_products_of_factors_in_pairs(model: NMFModel) -> None:
    users, items = [3, 0, np.int64(49)], np.array([1, 39, 7], dtype=np.uint8)

    scores = model.predict(users, items)

    assert model.user_factors is not None
    assert model.item_factors is not None
    expected = (model.user_factors @ model.item_factors)[[3, 0, 49], [1, 39, 7]]
    assert scores.shape == (3,)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_embeddings_are_rows_and_copies(model: NMFModel) -> None:
    vectors = model.get_user_embeddings([4, 4])
    items = model.get_item_embeddings(range(3))

    assert vectors.shape == (2, 8)
    assert items.shape == (3, 8)
    vectors[:] = -1
    assert model.get_user_embeddings([4]).min() >= 0


def test_no_ids_give_no_rows(model: NMFModel) -> None:
    assert model.predict([], []).shape == (0,)
    assert model.get_user_embeddings([]).shape == (0, 8)
    assert len(model.recommend([])) == 0


@pytest.mark.parametrize("bad", [-1, 50, 2**40])
def test_a_user_out_of_range_is_told_the_range(model: NMFModel, bad: int) -> None:
    for ask in (
        lambda: model.predict([bad], [0]), lambda: model.get_user_embeddings([0, bad]),
        lambda: model.get_top_recommendations(bad), lambda: model.recommend([bad]), lambda: model.explain(bad, 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^User IDs must be in range \[0, 50\)$"):
            ask()


@pytest.mark.parametrize("bad", [-1, 40])
def test_an_item_out_of_range_is_told_the_range(model: NMFModel, bad: int) -> None:
    for ask in (
        lambda: model.predict([0], [bad]), lambda: model.get_item_embeddings([bad]),
        lambda: model.similar_items(bad), lambda: model.explain(0, bad), lambda: model.recommend(blocked=[bad]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^Item IDs must be in range \[0, 40\)$"):
            ask()


@pytest.mark.parametrize("bad", [[1.0], ["1"], [True], [[1]], [None], np.array([1.5])])
def test_ids_that_are_no_ints_are_refused(model: NMFModel, bad: Any) -> None:
    with pytest.raises(ParameterError, match="user_ids must be"):
        model.predict(bad, [1])


def test_pairs_of_different_lengths_are_refused(model: NMFModel) -> None:
    with pytest.raises(ParameterError, match="equally long, got 2 and 3"):
        model.predict([1, 2], [1, 2, 3])


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, None])
def test_a_wrong_top_k_is_refused(model: NMFModel, bad: Any) -> None:
    with pytest.raises(ParameterError, match="top_k must be"):
        model.get_top_recommendations(0, bad)


def test_factors_that_are_no_numbers_are_refused_by_their_name(model: NMFModel) -> None:
    with pytest.raises(ParameterError, match="user_factors must be numbers of shape"):
        model.recommend(user_factors=[["a"] * model.n_components])


def test_a_model_tells_what_it_is_where_it_is_printed(model: NMFModel) -> None:
    assert f"n_components={model.n_components}" in repr(model)
    assert f"fitted to {model.n_users} users × {model.n_items} items" in repr(model)
    assert "not fitted" in repr(NMFModel())


def test_a_list_in_place_of_one_id_is_refused_by_what_it_is(model: NMFModel) -> None:
    for ask in (model.get_top_recommendations, model.similar_items):
        with pytest.raises(ParameterError, match=r"_id must be one id, got \[0\]$"):
            ask([0])  # type: ignore[arg-type]  # on purpose
