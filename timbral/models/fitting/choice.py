"""What no count of the data tells, tried on a held-out part of them: how strongly to regularise, and what neighbours
and recency are worth.

It is tried with the model that is trained: as many factors, nearly all of the data. All tries go on from the same
factors, and the training then starts from the best of them.
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
from timbral.models.fitting.best_weight import highest, mean_best
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

DEFAULT_NEIGHBOR_REGULARIZATION: Final = 3.0
"""λ: better than 1 on most data sets, and nowhere worse by more than a few tenths of a percent."""

LADDER: Final = (0.09, 0.13, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
FIRST_STEP: Final = 4
NEIGHBOR_WEIGHTS: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2)
RECENCY_WEIGHTS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

N_NEIGHBORS: Final = 25
"""Of each item, at most, while γ is tried: that takes a third of the time of 100."""

MORE_NEIGHBORS: Final = 1 / 3
"""The best γ grows as this power of their number: what more of them say is told better from chance."""

SHRINKAGE: Final = 0.2
"""Of the way, by the logarithm, from the best κ that was found back to the first one tried: what is found is off by
chance, and too large a κ costs more than one too small."""

CAUTION: Final = 0.5
"""Standard errors, over the judged users, that are taken off what ρ gains over none, and γ where steps of the ladder
are compared: the highest point of a flat curve is chance. γ itself is a mean of many best ones (``mean_best``)."""

MAX_ENTRIES: Final = 500_000
"""That the factors are tried on: those of random users. Neighbours are of all entries, since fewer would know fewer
pairs."""

SWEEPS: Final = 4
"""From the start, at the first step of the ladder."""

FURTHER_SWEEPS: Final = 2
"""From there, at each step that is tried: all are as far on, so none is taken for better than it is."""


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
    gammas = NEIGHBOR_WEIGHTS if gamma is None else (gamma,)
    rhos = RECENCY_WEIGHTS if rho is None else (rho,)
    with Threads(n_threads) as threads:
        if gammas == (0.0,):
            neighbors = Neighbors.none(rows.n_columns)
        else:
            n_neighbors = min(parts.n_neighbors, N_NEIGHBORS)
            neighbors = Neighbors.fit(
                hidden.known, n_neighbors, [given.neighbor_regularization], seed, threads, parts.neighbor_play_exponent
            )[0]
        trial = _Trial(objective, hidden, neighbors, kappas, gammas, n_components, seed, threads, rng)
        return trial.best(given, parts.n_neighbors, rhos)


@dataclass(frozen=True)
class _Tried:
    """``judged`` (n_judged, γ): float64, of each user; ``quality``: by γ, what it gains over the first one taken with
    caution."""

    factors: Factors
    judged: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float64]

    @property
    def best(self) -> float:
        return float(self.quality.max())


@dataclass
class _Trial:
    """What was tried, by the step on the ladder of ``kappas``."""

    objective: Objective
    part: HiddenPart
    neighbors: Neighbors
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
        self.sums = NeighborSums.of(self.part, [self.neighbors], self.threads)
        self.first_step = min(FIRST_STEP, len(self.kappas) - 1)
        weighting = self._weighting(self.first_step)
        start = start_factors(self.users, self.columns, self.n_components, weighting.typical_target, self.seed)
        self.start = self._sweeps(weighting, start, SWEEPS)

    def best(self, given: Choice, n_neighbors: int, rhos: tuple[float, ...]) -> Choice:
        """What of ``given`` was open, chosen for a model of so many neighbours."""
        step = self._best_step()
        found = self.at(step)
        kappa = highest(self.kappas, {near: one.best for near, one in self.tried.items()}, step)
        if len(self.kappas) > 1:
            kappa = float(f"{kappa * (self.kappas[self.first_step] / kappa) ** SHRINKAGE:.2g}")
        of_few = gamma = self.gammas[0]
        if len(self.gammas) > 1:
            of_few = mean_best(self.gammas, found.judged, self.rng)
            more = (max(n_neighbors, N_NEIGHBORS) / N_NEIGHBORS) ** MORE_NEIGHBORS
            gamma = float(f"{of_few * more:.2g}")
        rho = self._best_recency(found, of_few, rhos)
        by_kappa = {self.kappas[near]: round(one.best, 4) for near, one in sorted(self.tried.items())}
        logger.info(
            "Chose regularization %g, neighbor_weight %g, recency_weight %g; by regularization %s, "
            "without neighbours %.4f",
            kappa, gamma, rho, by_kappa, float(found.quality[0]),
        )  # fmt: skip
        return Choice(kappa, given.neighbor_regularization, gamma, rho, found.factors, self.tried_on)

    def _best_step(self) -> int:
        """Up the ladder, or else down, for as long as it gains."""
        best = self.first_step
        for way in (1, -1):
            while 0 <= best + way < len(self.kappas) and self.at(best + way).best > self.at(best).best:
                best += way
            if best != self.first_step:
                break
        return best

    def at(self, step: int) -> _Tried:
        if step not in self.tried:
            factors = self._sweeps(self._weighting(step), self.start.copy(), FURTHER_SWEEPS)
            users = np.ascontiguousarray(factors.user[self.places])
            judged = judge(users, factors.item, self.part, self.sums, self.gammas, self.threads)
            self.tried[step] = _Tried(factors, judged[:, 0], _with_caution(judged[:, 0]))
        return self.tried[step]

    def _weighting(self, step: int) -> Weighting:
        chosen = replace(self.objective, regularization=self.kappas[step])
        return Weighting.measure(chosen, self.users, np.diff(self.columns.indptr))

    def _sweeps(self, weighting: Weighting, start: Factors, n_sweeps: int) -> Factors:
        return factorize(
            weighting.users_side(self.users),
            weighting.items_side(self.columns),
            start,
            l1=self.objective.l1_regularization,
            max_iter=n_sweeps,
            tol=0.0,
            classic=self.objective.is_classic,
            threads=Threads(self.threads.n_threads),
        )

    def _best_recency(self, found: _Tried, gamma: float, rhos: tuple[float, ...]) -> float:
        """0 where none of ``rhos`` gains."""
        if self.part.known_times is None or rhos == (0.0,) or len(rhos) == 1:
            return rhos[0] if len(rhos) == 1 else 0.0
        recent = recency(self.part.known, self.part.known_times)
        judged = []
        for rho in (0.0, *rhos):
            users, items = with_recency(found.factors.user[self.places], found.factors.item, rho * recent)
            judged.append(judge(users, items, self.part, self.sums, [gamma], self.threads)[:, 0, 0])
        return (0.0, *rhos)[int(np.argmax(_with_caution(np.stack(judged, axis=1))))]


def _with_caution(judged: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean over users of ``judged`` (n_judged, weights), less what of each weight's gain over the first one may be
    chance: float64 (weights,)."""
    gain = judged - judged[:, :1]
    error = gain.std(axis=0) / np.sqrt(len(judged))
    return np.asarray(judged.mean(axis=0) - CAUTION * error)


def _sample(part: HiddenPart, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Marks the judged users and random others, who together have up to MAX_ENTRIES known entries."""
    counts = np.diff(part.known.indptr)
    taken = np.zeros(part.known.n_rows, dtype=bool)
    taken[part.judged] = True
    others = rng.permutation(np.flatnonzero(~taken))
    room = MAX_ENTRIES - int(counts[part.judged].sum())
    taken[others[np.cumsum(counts[others]) <= room]] = True
    return taken
