"""What no count of the data tells, tried on a held-out part of them: how strongly to regularise, and what neighbours
and recency are worth.

It is tried with the model that is trained: as many factors, nearly all of the data, and each try goes on from the
factors of the one before. The training then starts from the best of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from timbral.models.engine.factorization import Factors, factorize
from timbral.models.engine.initialization import start_factors
from timbral.models.engine.objective import Objective
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Weighting
from timbral.models.fitting.hidden_part import HiddenPart, Times
from timbral.models.fitting.judgement import judge
from timbral.models.fitting.neighbor_sums import NeighborSums
from timbral.models.fitting.options import PartOptions
from timbral.models.fitting.recency import recency, with_recency
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.neighbors import Neighbors

__all__ = ["CHOSEN", "DEFAULT_REGULARIZATION", "Choice", "choose"]

logger = logging.getLogger(__name__)

CHOSEN: Final = ("regularization", "neighbor_regularization", "neighbor_weight", "recency_weight")
"""What a Choice is of."""

DEFAULT_REGULARIZATION: Final = 0.5
"""κ where the data are too few to try."""

DEFAULT_NEIGHBOR_REGULARIZATION: Final = 2.0

LADDER: Final = (0.09, 0.13, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
FIRST_STEP: Final = 4
NEIGHBOR_WEIGHTS: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2)
NEIGHBOR_REGULARIZATIONS: Final = (1.0, 3.0)
RECENCY_WEIGHTS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

LEAST_GAIN: Final = 0.003
"""Of the score without it: what a part has to gain, to be there at all."""

MAX_ENTRIES: Final = 500_000
"""That the factors are tried on: those of random users. Neighbours are of all entries, since fewer would know fewer
pairs."""

SWEEPS: Final = 6
FURTHER_SWEEPS: Final = 3
"""From the factors of the neighbour on the ladder."""


@dataclass(frozen=True)
class Choice:
    """κ, λ, γ and ρ; and where something was tried, the best factors, to start the training from: ``users`` are those
    of the users ``tried_on``."""

    regularization: float
    neighbor_regularization: float
    neighbor_weight: float
    recency_weight: float
    factors: Factors | None = None
    tried_on: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, numbers: dict[str, float]) -> Self:
        """What ``numbers`` gave, without factors to start from."""
        return cls(
            numbers["regularization"],
            numbers["neighbor_regularization"],
            numbers["neighbor_weight"],
            numbers["recency_weight"],
        )

    def numbers(self) -> dict[str, float]:
        """What was chosen, by the names in ``CHOSEN``."""
        return {name: getattr(self, name) for name in CHOSEN}

    def start(self, rows: SparseRows, columns: SparseRows, n_components: int, typical: float, seed: int) -> Factors:
        """Where the training of ``rows`` starts."""
        start = start_factors(rows, columns, n_components, typical, seed)
        if self.factors is not None:
            start.item = self.factors.item
            start.user[self.tried_on] = self.factors.user
        return start


def choose(
    objective: Objective,
    parts: PartOptions,
    rows: SparseRows,
    times: Times | None,
    *,
    n_components: int,
    seed: int,
    n_threads: int,
) -> Choice:
    """What ``objective`` and ``parts`` leave open; the same on any number of threads."""
    ranks = objective.resolved_target == "one"
    gamma = 0.0 if parts.n_neighbors == 0 or (parts.neighbor_weight is None and not ranks) else parts.neighbor_weight
    rho = 0.0 if times is None or (parts.recency_weight is None and not ranks) else parts.recency_weight
    given = Choice(
        DEFAULT_REGULARIZATION if objective.regularization is None else objective.regularization,
        parts.neighbor_regularization or DEFAULT_NEIGHBOR_REGULARIZATION,
        gamma or 0.0,
        rho or 0.0,
    )
    if objective.regularization is not None and gamma is not None and rho is not None:
        return given
    rng = np.random.default_rng(seed)
    hidden = HiddenPart.of(rows, times, rng)
    if hidden is None:
        return given
    kappas = LADDER if objective.regularization is None else (objective.regularization,)
    lambdas = NEIGHBOR_REGULARIZATIONS if parts.neighbor_regularization is None else (parts.neighbor_regularization,)
    gammas = NEIGHBOR_WEIGHTS if gamma is None else (gamma,)
    rhos = RECENCY_WEIGHTS if rho is None else (rho,)
    with Threads(n_threads) as threads:
        if gammas == (0.0,):
            neighbors, lambdas = [Neighbors.none(rows.n_columns)], lambdas[:1]
        else:
            neighbors = Neighbors.fit(hidden.known, parts.n_neighbors, lambdas, seed, threads)
        trial = _Trial(objective, hidden, neighbors, kappas, gammas, n_components, seed, threads, rng)
        return trial.best(lambdas, rhos)


@dataclass(frozen=True)
class _Tried:
    factors: Factors
    quality: npt.NDArray[np.float64]

    @property
    def best(self) -> float:
        return float(self.quality.max())


@dataclass
class _Trial:
    """What was tried, by the step on the ladder of ``kappas``."""

    objective: Objective
    part: HiddenPart
    neighbors: list[Neighbors]
    kappas: tuple[float, ...]
    gammas: tuple[float, ...]
    n_components: int
    seed: int
    threads: Threads
    rng: np.random.Generator
    tried: dict[int, _Tried] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tried_on = _sample(self.part, self.rng)
        self.users = self.part.known.of_rows(self.tried_on)
        self.places = np.cumsum(self.tried_on)[self.part.judged] - 1
        self.columns = self.users.transposed()
        self.sums = NeighborSums.of(self.part, self.neighbors, self.threads)

    def best(self, lambdas: tuple[float, ...], rhos: tuple[float, ...]) -> Choice:
        step = min(FIRST_STEP, len(self.kappas) - 1)
        while True:
            around = [near for near in (step - 1, step + 1) if 0 <= near < len(self.kappas)]
            better = max(around, key=lambda near: self.at(near).best, default=step)
            if self.at(better).best <= self.at(step).best:
                break
            step = better
        found = self.at(step)
        kind, which = np.unravel_index(int(np.argmax(found.quality)), found.quality.shape)
        none = float(found.quality[0, 0])
        if self.gammas[0] == 0.0 and found.best < none * (1.0 + LEAST_GAIN):
            kind, which = np.int64(0), np.int64(0)
        gamma = self.gammas[which]
        rho = self._best_recency(found, int(kind), gamma, rhos)
        logger.info(
            "Chose regularization %g, neighbor_weight %g, neighbor_regularization %g, recency_weight %g; "
            "by regularization %s, without neighbours %.4f",
            self.kappas[step], gamma, lambdas[kind], rho,
            {self.kappas[near]: round(one.best, 4) for near, one in sorted(self.tried.items())}, none,
        )  # fmt: skip
        return Choice(self.kappas[step], lambdas[kind], gamma, rho, found.factors, self.tried_on)

    def at(self, step: int) -> _Tried:
        if step not in self.tried:
            chosen = replace(self.objective, regularization=self.kappas[step])
            weighting = Weighting.measure(chosen, self.users, np.diff(self.columns.indptr))
            near = min(self.tried, key=lambda tried: (abs(tried - step), tried), default=None)
            if near is None:
                start = start_factors(self.users, self.columns, self.n_components, weighting.typical_target, self.seed)
            else:
                start = self.tried[near].factors.copy()
            factors = factorize(
                weighting.users_side(self.users),
                weighting.items_side(self.columns),
                start,
                l1=self.objective.l1_regularization,
                max_iter=SWEEPS if near is None else FURTHER_SWEEPS,
                tol=0.0,
                classic=self.objective.is_classic,
                threads=Threads(self.threads.n_threads),
            )
            users = np.ascontiguousarray(factors.user[self.places])
            wanted = self._gammas_near(None if near is None else self.tried[near])
            quality = np.full((len(self.neighbors), len(self.gammas)), -np.inf)
            gammas = [self.gammas[which] for which in wanted]
            judged = judge(users, factors.item, self.part, self.sums, gammas, self.threads)
            quality[:, wanted] = judged.mean(axis=0)
            self.tried[step] = _Tried(factors, quality)
        return self.tried[step]

    def _gammas_near(self, tried: _Tried | None) -> list[int]:
        """Places of the weights to try: all of them once, then 0 and those around the best for the regularization
        beside."""
        if tried is None:
            return list(range(len(self.gammas)))
        best = int(np.argmax(tried.quality.max(axis=0)))
        return sorted({0} | {which for which in range(best - 1, best + 2) if 0 <= which < len(self.gammas)})

    def _best_recency(self, found: _Tried, kind: int, gamma: float, rhos: tuple[float, ...]) -> float:
        """0 where none of ``rhos`` gains."""
        if self.part.known_times is None or rhos == (0.0,) or len(rhos) == 1:
            return rhos[0] if len(rhos) == 1 else 0.0
        recent = recency(self.part.known, self.part.known_times)
        qualities = []
        for rho in (0.0, *rhos):
            users, items = with_recency(found.factors.user[self.places], found.factors.item, rho * recent)
            judged = judge(users, items, self.part, self.sums, [gamma], self.threads)
            qualities.append(float(judged[:, kind, 0].mean()))
        best = int(np.argmax(qualities))
        return (0.0, *rhos)[best] if qualities[best] > qualities[0] * (1.0 + LEAST_GAIN) else 0.0


def _sample(part: HiddenPart, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Marks the judged users and random others, who together have up to MAX_ENTRIES known entries."""
    counts = np.diff(part.known.indptr)
    taken = np.zeros(part.known.n_rows, dtype=bool)
    taken[part.judged] = True
    others = rng.permutation(np.flatnonzero(~taken))
    room = MAX_ENTRIES - int(counts[part.judged].sum())
    taken[others[np.cumsum(counts[others]) <= room]] = True
    return taken
