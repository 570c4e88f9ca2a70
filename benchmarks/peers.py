"""scikit-learn's NMF and implicit's ALS, each as its makers would have it run, and how good any of them is."""

from __future__ import annotations

import dataclasses
import itertools
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from timbral.config.cores import available_cores
from timbral.models.nmf_model import NMFModel
from timbral.models.search.top_k import top_k
from timbral.utils.evaluation import EvaluationMetrics

Csr = sparse.csr_matrix


@dataclass(frozen=True)
class Quality:
    recall: float
    ndcg: float

    def __str__(self) -> str:
        return f"{self.recall:.3f} / {self.ndcg:.3f}"

    @classmethod
    def mean(cls, parts: Iterable[Quality]) -> Quality:
        listed = list(parts)
        return cls(float(np.mean([q.recall for q in listed])), float(np.mean([q.ndcg for q in listed])))

    @classmethod
    def of(cls, ranking: Any, users: Any, held_out: Csr) -> Quality:
        """recall@20 and NDCG@20 over the full ranking, the same code for everybody."""
        found = EvaluationMetrics().evaluate_ranking(ranking, held_out, 20, user_ids=users)
        return cls(found["recall@20"], found["ndcg@20"])


def users_of(held_out: Csr) -> Any:
    return np.flatnonzero(np.diff(held_out.indptr))


def quality_of_ours(model: NMFModel, held_out: Csr) -> Quality:
    users = users_of(held_out)
    return Quality.of(model.recommend(users, top_k=20), users, held_out)


def quality_of_factors(user_factors: Any, item_factors: Any, train: Csr, held_out: Csr) -> Quality:
    """Of plain NMF's factors, ranked by our exact top-k."""
    users = users_of(held_out)
    vectors = np.ascontiguousarray(user_factors[users], np.float32)
    ranking = top_k(vectors, np.asarray(item_factors, np.float32), 20, seen=train[users])
    return Quality.of(ranking, users, held_out)


@dataclass(frozen=True)
class Als:
    """Settings of implicit's ALS, and what the play counts are turned into before it sees them."""

    factors: int
    regularization: float = 0.01
    alpha: float = 1.0
    iterations: int = 15
    weights: str = "log"

    def fit(self, train: Csr, seed: int = 0, callback: Any = None) -> AlternatingLeastSquares:
        data = train.copy()
        data.data = np.log1p(data.data) if self.weights == "log" else np.ones_like(data.data)
        with threadpool_limits(1, "blas"):  # implicit asks for it: its own threads are the parallel ones
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularization,
                alpha=self.alpha,
                iterations=self.iterations,
                random_state=seed,
                num_threads=available_cores(),
            )
            model.fit(data, show_progress=False, callback=callback)
        return model

    def __str__(self) -> str:
        return f"k={self.factors} reg={self.regularization:g} alpha={self.alpha:g} {self.weights}, {self.iterations} it"


def quality_of_als(model: AlternatingLeastSquares, train: Csr, held_out: Csr) -> Quality:
    users = users_of(held_out)
    with threadpool_limits(1, "blas"):
        items, scores = model.recommend(users, train[users], N=min(20, train.shape[1]))
    # Where a list is exhausted implicit fills it with filtered items at the lowest float.
    return Quality.of(np.where(scores > -1e38, items, -1), users, held_out)


def best_als(train: Csr, held_out: Csr, factors: int, *, quick: bool = False) -> tuple[Als, Quality]:
    """The best of a grid by recall + NDCG, chosen on the very data that it is then judged on: implicit's advantage."""
    regularizations, alphas = ((10.0, 30.0), (1.0, 10.0)) if quick else ((1.0, 10.0, 30.0, 100.0), (1.0, 5.0, 20.0))
    best = _Best(train, held_out)
    for regularization, alpha, weights in itertools.product(regularizations, alphas, ("log", "one")):
        best.try_it(Als(factors, regularization, alpha, 15, weights))
    if not quick:
        for change in (0.55, 1.8):
            best.try_it(dataclasses.replace(best.settings, regularization=best.settings.regularization * change))
        best.try_it(dataclasses.replace(best.settings, alpha=best.settings.alpha / 2))
        for iterations in (8, 30):
            best.try_it(dataclasses.replace(best.settings, iterations=iterations))
    return best.settings, best.quality


class _Best:
    """The best settings of those that were tried."""

    def __init__(self, train: Csr, held_out: Csr) -> None:
        self.train, self.held_out = train, held_out
        self.settings, self.quality = Als(1), Quality(0, 0)

    def try_it(self, settings: Als) -> None:
        found = quality_of_als(settings.fit(self.train), self.train, self.held_out)
        if found.recall + found.ndcg > self.quality.recall + self.quality.ndcg:
            self.settings, self.quality = settings, found


def fit_sklearn(train: Csr, n_components: int, **options: Any) -> tuple[Any, Any, NMF, float]:
    """(W, H, the NMF, seconds), all cores for its BLAS."""
    model = NMF(n_components, random_state=0, **options)
    start = time.perf_counter()
    with threadpool_limits(available_cores(), "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its defaults end after 200 iterations
        user_factors = model.fit_transform(train)
    return user_factors, model.components_, model, time.perf_counter() - start


def warm_up() -> None:
    """Compile, or read from numba's cache, everything that is timed later."""
    rng = np.random.default_rng(0)
    plays = sparse.random(300, 200, 0.1, "csr", np.float32, rng)
    for options in ({}, {"unobserved_weight": 1.0, "confidence": 0.0, "target": "value", "regularization": 0.0}):
        model = NMFModel(8, max_iter=2, **options).fit(plays)
        model.recommend(top_k=5)
        model.recommend([0], top_k=5)
        model.fold_in(plays[:1])
