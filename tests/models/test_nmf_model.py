"""How a model is made: what its arguments may be, and what it is before a fit."""

from __future__ import annotations

from typing import Any

import pytest

from timbral.config.settings import Constants, settings
from timbral.errors import (
    ParameterError,
)
from timbral.models.nmf_model import NMFModel


def test_defaults_come_from_settings_and_constants() -> None:
    model = NMFModel()

    assert (model.n_components, model.random_state) == (settings.NMF_N_COMPONENTS, settings.NMF_RANDOM_STATE)
    assert (model.max_iter, model.tol) == (Constants.NMF_MAX_ITER, Constants.NMF_TOL)
    assert not model.is_fitted
    assert model.user_factors is None


def test_zero_is_a_value() -> None:
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
def test_a_wrong_argument_is_named_with_what_would_be_right(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        NMFModel(**arguments)


def test_options_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        NMFModel(8, 0, 10, 1e-4, 0.1)
