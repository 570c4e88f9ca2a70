"""What a worker's parent process does once before it makes its pool, so that no process of the pool has to."""

from __future__ import annotations

import gc

import numpy as np

from timbral.models.nmf_model import NMFModel

__all__ = ["warm_up"]


def warm_up() -> None:
    """Load the compiled kernels, and keep what is loaded shared: the pool's processes inherit both.

    Without it the first list of each process takes half a second longer, and the garbage collector, which writes into
    every object that it looks at, gives each process a copy of its own.
    """
    plays = np.eye(3, 4, dtype=np.float32)
    model = NMFModel(2, 0, 1, n_threads=1).fit(plays)
    model.recommend(user_factors=model.fold_in(plays), top_k=2)  # a few users
    model.recommend(np.zeros(64, dtype=np.int64), top_k=2)  # many
    gc.collect()
    gc.freeze()
