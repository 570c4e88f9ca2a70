"""A model's parameters, as scikit-learn reads and sets them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from timbral.errors import ParameterError
from timbral.models.nmf_model import NMFModel

PLAYS = np.random.default_rng(0).integers(0, 3, (20, 12))


def test_a_clone_is_made_alike_and_not_fitted() -> None:
    model = NMFModel(4, random_state=7, regularization=0.5, n_neighbors=0, max_iter=3, n_threads=1).fit(PLAYS)

    made = clone(model)

    assert made.get_params() == model.get_params()
    assert made.get_params()["n_threads"] == 1
    assert not made.is_fitted
    assert np.array_equal(made.fit(PLAYS).user_factors, model.user_factors)


def test_a_grid_sets_parameters_one_after_the_other() -> None:
    model = NMFModel(max_iter=2, n_threads=1)

    shapes = [
        model.set_params(**parameters).fit(PLAYS).get_item_embeddings([0]).shape
        for parameters in ParameterGrid({"n_components": [2, 3], "regularization": [0.1]})
    ]

    assert shapes == [(1, 2), (1, 3)]
    assert model.get_params()["max_iter"] == 2


def test_a_model_with_other_parameters_has_to_be_fitted() -> None:
    model = NMFModel(4, max_iter=2, n_threads=1).fit(PLAYS)

    assert not model.set_params(n_components=5).is_fitted


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"n_components": "5"}, "n_components must be an int"), ({"alpha": 1}, "NMFModel has no parameter alpha; it has")],
)
def test_what_cannot_be_set_changes_nothing(parameters: dict[str, object], said: str) -> None:
    model = NMFModel(4, max_iter=2, n_threads=1).fit(PLAYS)

    with pytest.raises(ParameterError, match=said):
        model.set_params(**parameters)

    assert model.is_fitted
    assert model.n_components == 4
