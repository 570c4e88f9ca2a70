"""How strongly to regularise a data set, and to weigh what is popular: tried on a part of its listeners, with small models and held-out plays.

What is right depends on how much structure there is above the noise, which no count of the data tells: on listening data whose genres are
plain it is half of what faint ones need. A few small fits do tell, in a fraction of the time of the training.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.models.factorization import factorize
from timbral.models.initialization import start_factors
from timbral.models.interactions import Interactions
from timbral.models.objective import Objective
from timbral.models.threads import Threads
from timbral.models.top_k import top_k
from timbral.models.weighting import Weighting

__all__ = ["DEFAULT_POPULARITY_EXPONENT", "DEFAULT_REGULARIZATION", "choose_regularization"]

logger = logging.getLogger(__name__)

DEFAULT_REGULARIZATION: Final = 0.5
"""Taken where the data are too few to try."""

DEFAULT_POPULARITY_EXPONENT: Final = 0.3
"""Taken where the data are too few to try, or where the regularization was given."""

POPULARITY_EXPONENTS: Final = (0.4, 0.2)

LADDER: Final = (0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
MIN_JUDGED: Final = 100
MIN_ENTRIES: Final = 5_000
MAX_ENTRIES: Final = 300_000
MAX_RANKED: Final = 1_000
MIN_ROW: Final = 5
HELD_OUT: Final = 0.2
COMPONENTS: Final = 24
SWEEPS: Final = 5
LENGTH: Final = 20


def choose_regularization(
    objective: Objective, rows: Interactions, n_components: int, seed: int, n_threads: int
) -> Objective:
    """``objective`` with a ``regularization`` and a ``popularity_exponent`` where it has none: those whose small models rank held-out plays
    of ``rows`` best; the same on any number of threads.
    """
    if objective.regularization is None:
        tried = _Trial.of(objective, rows, n_components, seed, n_threads)
        if tried is not None:
            return tried.best()
    return _with_defaults(objective)


def _with_defaults(objective: Objective) -> Objective:
    kappa, beta = objective.regularization, objective.popularity_exponent
    return replace(
        objective,
        regularization=DEFAULT_REGULARIZATION if kappa is None else kappa,
        popularity_exponent=DEFAULT_POPULARITY_EXPONENT if beta is None else beta,
    )


@dataclass
class _Trial:
    """A part of the listeners, some of whose plays are held out, and what was tried on them."""

    objective: Objective
    known: Interactions
    columns: Interactions
    hidden: Interactions
    judged: npt.NDArray[np.int64]
    n_components: int
    seed: int
    n_threads: int
    scores: dict[tuple[int, float], float] = field(default_factory=dict)

    @classmethod
    def of(cls, objective: Objective, rows: Interactions, n_components: int, seed: int, n_threads: int) -> Self | None:
        """None where there are too few."""
        rng = np.random.default_rng(seed)
        sample = _sample(rows, rng)
        judged = np.flatnonzero(np.diff(sample.indptr) >= MIN_ROW)
        if len(judged) < MIN_JUDGED or len(sample.values) < MIN_ENTRIES:
            return None
        held = _hold_out(sample, rng)
        known = _part(sample, ~held)
        judged = np.sort(rng.permutation(judged)[:MAX_RANKED])
        k = min(COMPONENTS, n_components)
        return cls(objective, known, known.transposed(), _part(sample, held), judged, k, seed, n_threads)

    def best(self) -> Objective:
        """Climbs the ladder from its middle with the first exponent; the second is tried where the first was best, and below."""
        given = self.objective.popularity_exponent
        exponents = POPULARITY_EXPONENTS if given is None else (given,)
        step = LADDER.index(DEFAULT_REGULARIZATION)
        ends = []
        for exponent in exponents:
            step = self._climb(step, exponent)
            ends.append((self.score(step, exponent), step, exponent))
        _, step, exponent = max(ends)
        kappa = _peak(step, *(self.score(near, exponent) for near in (step - 1, step, step + 1)))
        logger.info(
            "Chose regularization %.3f and popularity_exponent %.1f of %s",
            kappa,
            exponent,
            {(LADDER[place], beta): round(score, 4) for (place, beta), score in sorted(self.scores.items())},
        )
        return replace(self.objective, regularization=kappa, popularity_exponent=exponent)

    def _climb(self, step: int, exponent: float) -> int:
        while True:
            better = max((step - 1, step + 1), key=lambda near: self.score(near, exponent))
            if self.score(better, exponent) <= self.score(step, exponent):
                return step
            step = better

    def score(self, step: int, exponent: float) -> float:
        if not 0 <= step < len(LADDER):
            return -math.inf
        if (step, exponent) not in self.scores:
            chosen = replace(self.objective, regularization=LADDER[step], popularity_exponent=exponent)
            weighting = Weighting.measure(chosen, self.known, np.diff(self.columns.indptr))
            factors = factorize(
                weighting.users_side(self.known),
                weighting.items_side(self.columns),
                start_factors(
                    self.known.n_rows, self.known.n_columns, self.n_components, weighting.typical_target, self.seed
                ),
                l1=self.objective.l1_regularization,
                max_iter=SWEEPS,
                tol=0.0,
                classic=self.objective.is_classic,
                threads=Threads(self.n_threads),
            )
            self.scores[step, exponent] = _ranking_score(
                factors.user, factors.item, self.known, self.hidden, self.judged, self.n_threads
            )
        return self.scores[step, exponent]


def _peak(best: int, below: float, at: float, above: float) -> float:
    """Where a parabola through three neighbours on the ladder, at equal steps of the logarithm, has its top."""
    if not (math.isfinite(below) and math.isfinite(above)) or below + above >= 2 * at:
        return LADDER[best]
    shift = 0.5 * (below - above) / (below - 2 * at + above)
    return round(LADDER[best] * math.exp(shift * math.log(LADDER[-1] / LADDER[0]) / (len(LADDER) - 1)), 4)


def _sample(rows: Interactions, rng: np.random.Generator) -> Interactions:
    """Random rows, at most MAX_ENTRIES entries of them."""
    if len(rows.values) <= MAX_ENTRIES:
        return rows
    counts = np.diff(rows.indptr)
    order = rng.permutation(rows.n_rows)
    taken = np.zeros(rows.n_rows, dtype=bool)
    taken[order[np.cumsum(counts[order]) <= MAX_ENTRIES]] = True
    entries = np.repeat(taken, counts)
    indptr = np.concatenate(([0], np.cumsum(counts[taken])))
    return Interactions(indptr, rows.indices[entries], rows.values[entries], rows.n_columns)


def _hold_out(rows: Interactions, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Marks HELD_OUT of the entries of each row that has MIN_ROW of them."""
    counts = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.n_rows), counts)
    order = np.lexsort((rng.random(len(owner)), owner))
    place = np.arange(len(owner)) - np.repeat(rows.indptr[:-1], counts)
    share = np.where(counts >= MIN_ROW, np.rint(HELD_OUT * counts), 0)
    held = np.zeros(len(owner), dtype=bool)
    held[order] = place < np.repeat(share, counts)
    return held


def _part(rows: Interactions, chosen: npt.NDArray[np.bool_]) -> Interactions:
    before = np.concatenate(([0], np.cumsum(chosen)))
    return Interactions(before[rows.indptr], rows.indices[chosen], rows.values[chosen], rows.n_columns)


def _ranking_score(
    user: npt.NDArray[np.float32],
    item: npt.NDArray[np.float32],
    known: Interactions,
    hidden: Interactions,
    judged: npt.NDArray[np.int64],
    n_threads: int,
) -> float:
    """Mean of recall@20 and NDCG@20 over the full ranking, of the users ``judged``."""
    seen = sparse.csr_matrix((known.values, known.indices, known.indptr), shape=(known.n_rows, known.n_columns))[judged]
    best = top_k(user[judged], item.T, LENGTH, seen=seen, n_threads=n_threads)
    counts = np.diff(hidden.indptr)
    owner = np.repeat(np.arange(hidden.n_rows), counts)
    wanted = owner * hidden.n_columns + hidden.indices
    lengths = np.diff(best.indptr)
    found = np.isin(np.repeat(judged, lengths) * hidden.n_columns + best.item_indices, wanted)
    ranks = np.arange(len(found)) - np.repeat(best.indptr[:-1], lengths)
    discounts = 1.0 / np.log2(np.arange(2, LENGTH + 2))
    row = np.repeat(np.arange(len(judged)), lengths)
    hits = np.bincount(row, weights=found, minlength=len(judged))
    gains = np.bincount(row, weights=found * discounts[ranks], minlength=len(judged))
    ideal = np.cumsum(discounts)[np.minimum(counts[judged], LENGTH) - 1]
    return float(np.mean(hits / counts[judged] + gains / ideal) / 2)
