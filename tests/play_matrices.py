"""Small matrices of plays, for the tests of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

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
