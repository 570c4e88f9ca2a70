"""A matrix of plays and the model of it, which many tests ask and none changes."""

from __future__ import annotations

import pytest
from play_matrices import plays
from scipy import sparse

from timbral.models.nmf_model import NMFModel


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    return plays()


@pytest.fixture(scope="module")
def model(matrix: sparse.csr_matrix) -> NMFModel:
    return NMFModel(8).fit(matrix)
