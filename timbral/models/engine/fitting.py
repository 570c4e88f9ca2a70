"""From interactions to factors: the choices that the data make, the start, the sweeps, and a look at what came out."""

from __future__ import annotations

import numpy as np

from timbral.errors import TrainingError
from timbral.models.engine.factorization import Callback, Factors, factorize
from timbral.models.engine.initialization import start_factors
from timbral.models.engine.objective import Objective
from timbral.models.engine.regularization import choose_regularization
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Weighting
from timbral.models.kernels.threads import Threads

__all__ = ["fit_factors"]


def fit_factors(
    objective: Objective,
    rows: SparseRows,
    *,
    n_components: int,
    seed: int,
    max_iter: int,
    tol: float,
    n_threads: int,
    callback: Callback | None,
) -> tuple[Factors, Weighting]:
    """Train on ``rows`` (users × items).

    Raises:
        TrainingError: the loss or a factor is not finite, or the callback ended it.
    """
    columns = rows.transposed()
    chosen = choose_regularization(objective.for_components(n_components), rows, n_components, seed, n_threads)
    weighting = Weighting.measure(chosen, rows, np.diff(columns.indptr))
    factors = factorize(
        weighting.users_side(rows),
        weighting.items_side(columns),
        start_factors(rows.n_rows, rows.n_columns, n_components, weighting.typical_target, seed),
        l1=objective.l1_regularization,
        max_iter=max_iter,
        tol=tol,
        classic=objective.is_classic,
        threads=Threads(n_threads),
        callback=callback,
    )
    if not (np.isfinite(factors.user).all() and np.isfinite(factors.item).all()):
        raise TrainingError("The training gave factors that are not finite; the values are too large for it")
    return factors, weighting
