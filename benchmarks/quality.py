"""Lists on open data sets beside implicit's ALS, EASE and popularity: ``python -m benchmarks.quality FOLDER``.

FOLDER has an ``.npz`` for each data set: CSR matrices ``train_small`` and ``valid``, on which the peers' settings are
chosen, ``train`` and ``test``, on which everybody is judged (each as ``_data``, ``_indices``, ``_indptr``), and
``meta``, JSON with their ``shapes``. timbral is at its defaults.

Not part of the whole run: it takes about an hour, most of it implicit's grid.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import lapack

from benchmarks import peers
from benchmarks.peers import Csr, Quality
from timbral.judging.popularity import popularity_ranking
from timbral.models.nmf_model import NMFModel

EASE_REGULARIZATIONS = (30.0, 100.0, 300.0, 1000.0)
MOST_EASE_ITEMS = 20_000
"""EASE inverts a matrix of all items by all items."""


def read(path: Path) -> dict[str, Csr]:
    with np.load(path, allow_pickle=False) as arrays:
        shapes = json.loads(str(arrays["meta"]))["shapes"]
        return {
            name: sparse.csr_matrix(
                (arrays[f"{name}_data"].astype(np.float32), arrays[f"{name}_indices"], arrays[f"{name}_indptr"]),
                shape=shape,
            )
            for name, shape in shapes.items()
        }


def quality_of_ease(train: Csr, held_out: Csr, regularization: float) -> Quality:
    """Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019: the closed form."""
    played = (train > 0).astype(np.float32)
    gram = (played.T @ played).toarray()
    gram[np.diag_indices_from(gram)] += regularization
    inverse = _inverse(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    users = peers.users_of(held_out)
    lists = []
    for start in range(0, len(users), 1000):
        block = users[start : start + 1000]
        scores = np.asarray(played[block] @ weights)
        scores[train[block].nonzero()] = -np.inf
        best = np.argpartition(-scores, 20, axis=1)[:, :20]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        lists.append(np.take_along_axis(best, order, axis=1))
    return Quality.of(np.concatenate(lists), users, held_out)


def _inverse(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of a positive definite matrix, by its Cholesky factor: half the work of a general inverse."""
    factor, failed = lapack.spotrf(matrix, lower=1, overwrite_a=1)
    lower, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise np.linalg.LinAlgError("the co-play matrix is not positive definite")
    strict = np.tril(lower, -1)
    return np.asarray(strict + strict.T + np.diag(np.diag(lower)))


def columns(parts: dict[str, Csr], *, with_peers: bool) -> dict[str, Callable[[], Quality]]:
    """Who is judged, by name."""
    train, test, small, valid = (parts[name] for name in ("train", "test", "train_small", "valid"))

    def ours(k: int, n_neighbors: int = 100) -> Quality:
        return peers.quality_of_ours(NMFModel(k, 0, n_neighbors=n_neighbors).fit(train), test)

    def popularity() -> Quality:
        users = peers.users_of(test)
        return Quality.of(popularity_ranking(train, 20, users), users, test)

    def ease() -> Quality:
        if train.shape[1] > MOST_EASE_ITEMS:
            return Quality(float("nan"), float("nan"))
        tried = {value: quality_of_ease(small, valid, value) for value in EASE_REGULARIZATIONS}
        best = max(tried, key=lambda value: tried[value].recall + tried[value].ndcg)
        return quality_of_ease(train, test, best)

    def als() -> Quality:
        tried = [peers.best_als(small, valid, k, quick=True) for k in (64, 128, 256)]
        best = max(tried, key=lambda one: one[1].recall + one[1].ndcg)[0]
        return peers.quality_of_als(best.fit(train), train, test)

    made: dict[str, Callable[[], Quality]] = {
        "timbral, k=100": lambda: ours(100),
        "k=32": lambda: ours(32),
        "factors alone, k=100": lambda: ours(100, n_neighbors=0),
        "popularity": popularity,
    }
    return made | ({"EASE": ease, "implicit ALS, best k": als} if with_peers else {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder of .npz files")
    parser.add_argument("--no-peers", action="store_true", help="timbral and popularity alone")
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.npz"))
    if not files:
        parser.error(f"{options.folder} has no .npz file")
    peers.warm_up()
    rows = []
    for path in files:
        judged = columns(read(path), with_peers=not options.no_peers)
        cells = []
        for name, judge in judged.items():
            started = time.perf_counter()
            found = judge()
            cells.append(f"{found.recall:.4f} / {found.ndcg:.4f}")
            seconds = time.perf_counter() - started
            print(f"{path.stem}, {name}: {cells[-1]} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        rows.append((path.stem, *cells))
    print(f"| recall@20 / NDCG@20 | {' | '.join(judged)} |\n|{'---|' * (len(judged) + 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
