"""How strongly to regularise a data set: tried on a part of its users, with small models and held-out plays.

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

from timbral.models.engine.factorization import Factors, factorize
from timbral.models.engine.initialization import start_factors
from timbral.models.engine.objective import Objective
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Weighting
from timbral.models.kernels.threads import Threads
from timbral.models.search.top_k import top_k

__all__ = ["DEFAULT_REGULARIZATION", "choose_regularization"]

logger = logging.getLogger(__name__)

DEFAULT_REGULARIZATION: Final = 0.5
"""Taken where the data are too few to try."""

LADDER: Final = (0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
MIN_JUDGED: Final = 100
MIN_ENTRIES: Final = 5_000
MAX_ENTRIES: Final = 300_000
MAX_RANKED: Final = 1_500
MIN_ROW: Final = 5
HELD_OUT: Final = 0.2
COMPONENTS: Final = 48
SWEEPS: Final = 5
FURTHER_SWEEPS: Final = 3
"""From the factors of the neighbour on the ladder."""

LENGTH: Final = 50
"""Of the lists that are judged: longer ones than people see tell the same from fewer users."""


def choose_regularization(
    objective: Objective, rows: SparseRows, n_components: int, seed: int, n_threads: int
) -> Objective:
    """``objective`` with a ``regularization`` where it has none: the one whose small models rank held-out plays of ``rows`` best; the same
    on any number of threads.
    """
    if objective.regularization is not None:
        return objective
    tried = _Trial.of(objective, rows, n_components, seed, n_threads)
    return replace(objective, regularization=DEFAULT_REGULARIZATION if tried is None else tried.best())


@dataclass
class _Trial:
    """A part of the users, some of whose plays are held out, and what was tried on them."""

    objective: Objective
    known: SparseRows
    columns: SparseRows
    hidden: SparseRows
    judged: npt.NDArray[np.int64]
    n_components: int
    seed: int
    n_threads: int
    scores: dict[int, float] = field(default_factory=dict)
    factors: dict[int, Factors] = field(default_factory=dict)

    @classmethod
    def of(cls, objective: Objective, rows: SparseRows, n_components: int, seed: int, n_threads: int) -> Self | None:
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

    def best(self) -> float:
        """Climbs the ladder from its middle, to where neither neighbour is better."""
        step = LADDER.index(DEFAULT_REGULARIZATION)
        while True:
            better = max((step - 1, step + 1), key=self.score)
            if self.score(better) <= self.score(step):
                break
            step = better
        kappa = _peak(step, self.score(step - 1), self.score(step), self.score(step + 1))
        tried = {LADDER[place]: round(score, 4) for place, score in sorted(self.scores.items())}
        logger.info("Chose regularization %.3f of %s", kappa, tried)
        return kappa

    def score(self, step: int) -> float:
        if not 0 <= step < len(LADDER):
            return -math.inf
        if step not in self.scores:
            chosen = replace(self.objective, regularization=LADDER[step])
            weighting = Weighting.measure(chosen, self.known, np.diff(self.columns.indptr))
            near = min(self.factors, key=lambda tried: abs(tried - step), default=None)
            if near is None:
                start = start_factors(
                    self.known.n_rows, self.known.n_columns, self.n_components, weighting.typical_target, self.seed
                )
            else:
                start = Factors(self.factors[near].user.copy(), self.factors[near].item.copy())
            factors = factorize(
                weighting.users_side(self.known),
                weighting.items_side(self.columns),
                start,
                l1=self.objective.l1_regularization,
                max_iter=SWEEPS if near is None else FURTHER_SWEEPS,
                tol=0.0,
                classic=self.objective.is_classic,
                threads=Threads(self.n_threads),
            )
            self.factors[step] = factors
            self.scores[step] = _ranking_score(
                factors.user, factors.item, self.known, self.hidden, self.judged, self.n_threads
            )
        return self.scores[step]


def _peak(best: int, below: float, at: float, above: float) -> float:
    """Where a parabola through three neighbours on the ladder, at equal steps of the logarithm, has its top."""
    if not (math.isfinite(below) and math.isfinite(above)) or below + above >= 2 * at:
        return LADDER[best]
    shift = 0.5 * (below - above) / (below - 2 * at + above)
    return round(LADDER[best] * math.exp(shift * math.log(LADDER[-1] / LADDER[0]) / (len(LADDER) - 1)), 4)


def _sample(rows: SparseRows, rng: np.random.Generator) -> SparseRows:
    """Random rows, at most MAX_ENTRIES entries of them."""
    if len(rows.values) <= MAX_ENTRIES:
        return rows
    counts = np.diff(rows.indptr)
    order = rng.permutation(rows.n_rows)
    taken = np.zeros(rows.n_rows, dtype=bool)
    taken[order[np.cumsum(counts[order]) <= MAX_ENTRIES]] = True
    entries = np.repeat(taken, counts)
    indptr = np.concatenate(([0], np.cumsum(counts[taken])))
    return SparseRows(indptr, rows.indices[entries], rows.values[entries], rows.n_columns)


def _hold_out(rows: SparseRows, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Marks HELD_OUT of the entries of each row that has MIN_ROW of them."""
    counts = np.diff(rows.indptr)
    owner = np.repeat(np.arange(rows.n_rows), counts)
    order = np.lexsort((rng.random(len(owner)), owner))
    place = np.arange(len(owner)) - np.repeat(rows.indptr[:-1], counts)
    share = np.where(counts >= MIN_ROW, np.rint(HELD_OUT * counts), 0)
    held = np.zeros(len(owner), dtype=bool)
    held[order] = place < np.repeat(share, counts)
    return held


def _part(rows: SparseRows, chosen: npt.NDArray[np.bool_]) -> SparseRows:
    before = np.concatenate(([0], np.cumsum(chosen)))
    return SparseRows(before[rows.indptr], rows.indices[chosen], rows.values[chosen], rows.n_columns)


def _ranking_score(
    user: npt.NDArray[np.float32],
    item: npt.NDArray[np.float32],
    known: SparseRows,
    hidden: SparseRows,
    judged: npt.NDArray[np.int64],
    n_threads: int,
) -> float:
    """Mean of recall and NDCG over the full ranking, of the users ``judged``."""
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
