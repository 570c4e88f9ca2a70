"""What an Objective comes to on a data set: the weight of each entry, the weight and the regularisation of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError
from timbral.models.engine.median import median
from timbral.models.engine.objective import UNOBSERVED_SHARE, Objective
from timbral.models.engine.sparse_rows import SparseRows

__all__ = ["Side", "Weighting"]

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """One side's rows of the problem (users, or items), and what their entries and they themselves weigh."""

    rows: SparseRows
    confidence: Vector
    """c of each entry, in the rows' order."""
    target: Vector
    """r of each entry."""
    unobserved_target: float
    """μ, of all cells without an entry."""
    weight: Vector
    """Of each row: its factor in the weight of what was not observed."""
    l2: Vector
    """λ of each row."""

    def part(self, start: int, stop: int) -> Side:
        """Rows start..stop alone, their arrays shared."""
        entries, rows = slice(self.rows.indptr[start], self.rows.indptr[stop]), slice(start, stop)
        return Side(
            self.rows.part(start, stop), self.confidence[entries], self.target[entries], self.unobserved_target,
            self.weight[rows], self.l2[rows],
        )  # fmt: skip

    def of_rows(self, chosen: npt.NDArray[np.bool_]) -> Side:
        """The rows ``chosen`` alone, a mark for each."""
        entries = np.repeat(chosen, np.diff(self.rows.indptr))
        return Side(
            self.rows.of_rows(chosen), self.confidence[entries], self.target[entries], self.unobserved_target,
            self.weight[chosen], self.l2[chosen],
        )  # fmt: skip


@dataclass(frozen=True)
class Weighting:
    """The numbers that a training takes from its data, and that folding in needs again."""

    objective: Objective
    unobserved_weight: float
    """α₀ as used."""
    unobserved_target: float
    """μ as used."""
    user_l2: float
    """λ_u is this times (1 + entries)^ν."""
    item_l2: float
    item_weight_scale: float
    """α₀·s_i is this times (1 + entries)^β, at most 1."""
    value_scale: float
    """What values are divided by before their logarithm: 1, or less where most are below 1 (hours, shares)."""
    user_levels: Vector
    """Of each user, the mean logarithm l of their values."""
    item_weights: Vector
    """Of each item, α₀·s_i."""
    typical_target: float
    """Mean of r over all cells, each with its weight: what ŷ is in the mean."""

    @classmethod
    def measure(cls, objective: Objective, users: SparseRows, item_counts: npt.NDArray[np.int64]) -> Self:
        """The weighting of a data set, ``users`` its rows, ``item_counts`` the entries of each of its columns."""
        counts = np.diff(users.indptr)
        # Who played nothing, and what nobody played, says nothing.
        n_users, n_items, n_entries = np.count_nonzero(counts), np.count_nonzero(item_counts), len(users.values)
        kappa, mu, beta = objective.regularization, objective.unobserved_target, objective.popularity_exponent
        if kappa is None or mu is None:
            raise ParameterError("regularization and unobserved_target must be chosen before the data are weighed")
        alpha = objective.unobserved_weight
        if alpha is None:
            alpha = min(1.0, UNOBSERVED_SHARE * n_entries / (n_users * n_items))
        # In blocks, of which no more than one is looked at: the values may be mapped, and more than memory holds.
        value_scale = _value_scale(users)
        levels = _levels(users, value_scale)
        scale, weights = _item_weights(item_counts, alpha, beta)
        squared = confident = aimed = 0.0
        first = 0
        for block in users.blocks():
            level = np.repeat(levels[first : first + block.n_rows], np.diff(block.indptr))
            confidence = _confidence(objective, block.values, value_scale, level)
            target = _target(objective, block.values)
            squared += float(np.square(confidence * (target - mu)).sum(dtype=np.float64))
            confident += float(confidence.sum(dtype=np.float64))
            aimed += float((confidence * target).sum(dtype=np.float64))
            first += block.n_rows
        pull = float(np.sqrt(squared / n_entries))
        noise = pull * (np.sqrt(n_entries / n_users) + np.sqrt(n_entries / n_items))
        nu = objective.regularization_exponent
        unobserved = alpha * (n_users * n_items - n_entries)
        weight_of_all = confident + unobserved
        pull_of_all = aimed + unobserved * mu
        return cls(
            objective=objective,
            unobserved_weight=float(alpha),
            unobserved_target=mu,
            user_l2=float(kappa * noise / np.mean((1.0 + counts[counts > 0]) ** nu)),
            item_l2=float(kappa * noise / np.mean((1.0 + item_counts[item_counts > 0]) ** nu)),
            item_weight_scale=scale,
            value_scale=value_scale,
            user_levels=levels,
            item_weights=weights,
            typical_target=pull_of_all / weight_of_all,
        )

    def users_side(self, rows: SparseRows) -> Side:
        """``rows`` as users, their columns the items of the training."""
        counts = np.diff(rows.indptr)
        levels = np.repeat(_levels(rows, self.value_scale), counts)
        return Side(rows, *self.weigh(rows.values, levels), self.unobserved_target, *self.of_users(counts))

    def items_side(self, rows: SparseRows) -> Side:
        """``rows`` as items, their columns the users of the training."""
        weighed = self.weigh(rows.values, self.user_levels[rows.indices])
        return Side(rows, *weighed, self.unobserved_target, *self.of_items(np.diff(rows.indptr)))

    def weigh(self, values: Vector, levels: Vector) -> tuple[Vector, Vector]:
        """``confidence`` and ``target`` of entries, ``levels`` being those of their users."""
        return _confidence(self.objective, values, self.value_scale, levels), _target(self.objective, values)

    def of_users(self, counts: npt.NDArray[np.int64]) -> tuple[Vector, Vector]:
        """``weight`` and ``l2`` of users with so many entries."""
        return (counts > 0).astype(np.float32), self._l2(counts, self.user_l2)

    def of_items(self, counts: npt.NDArray[np.int64]) -> tuple[Vector, Vector]:
        """``weight`` and ``l2`` of items with so many entries."""
        weight = _weights(counts, self.item_weight_scale, self.objective.popularity_exponent)
        return weight, self._l2(counts, self.item_l2)

    def _l2(self, counts: npt.NDArray[np.int64], scale: float) -> Vector:
        return np.asarray(scale * (1.0 + counts) ** self.objective.regularization_exponent, dtype=np.float32)


def _logarithms(values: Vector, scale: float) -> Vector:
    return np.log1p(values) if scale == 1.0 else np.log1p(values / np.float32(scale))


def _value_scale(rows: SparseRows) -> float:
    """The median of the values where it is below 1, else 1."""
    parts = [block.values for block in rows.blocks()]
    if sum(np.count_nonzero(part < 1.0) for part in parts) <= (len(rows.values) - 1) // 2:
        return 1.0
    return min(1.0, median(parts))


def _levels(rows: SparseRows, scale: float) -> Vector:
    """Mean logarithm of each row's values; 1 for a row without any."""
    return np.concatenate([_means(block, scale) for block in rows.blocks()] or [np.ones(0, dtype=np.float32)])


def _means(rows: SparseRows, scale: float) -> Vector:
    counts = np.diff(rows.indptr)
    means = np.ones(rows.n_rows, dtype=np.float32)
    filled = counts > 0
    if filled.any():
        # Float64 before it is summed: numpy would cut a sum where its buffer for casting ends, wherever the row begins.
        logarithms = _logarithms(rows.values, scale).astype(np.float64)
        sums = np.add.reduceat(logarithms, rows.indptr[:-1][filled])
        means[filled] = np.maximum(sums / counts[filled], 1e-30)
    return means


def _confidence(objective: Objective, values: Vector, scale: float, levels: Vector) -> Vector:
    if objective.confidence == 0.0:
        return np.ones_like(values)
    confidence = _logarithms(values, scale)
    confidence /= levels
    confidence *= np.float32(objective.confidence / (1.0 + objective.confidence))
    confidence += np.float32(1.0 / (1.0 + objective.confidence))
    return confidence


def _target(objective: Objective, values: Vector) -> Vector:
    if objective.resolved_target == "one":
        return np.ones_like(values)
    return np.log1p(values) if objective.resolved_target == "log" else values


def _item_weights(counts: npt.NDArray[np.int64], alpha: float, exponent: float) -> tuple[float, Vector]:
    """The scale t and the weights min(t · (1 + count)^exponent, 1), whose mean is ``alpha``; 0 where the count is."""
    filled = counts[counts > 0]
    if alpha >= 1.0 or exponent == 0.0:
        # (1 + count)^0 is 1; where α₀ is 1 a scale of 1 lets no weight be below it.
        return alpha, np.where(counts > 0, np.float32(alpha), np.float32(0.0))
    raw = (1.0 + filled) ** exponent
    capped = np.zeros(len(filled), dtype=bool)
    while True:
        scale = float((alpha * len(filled) - capped.sum()) / raw[~capped].sum())
        over = scale * raw > 1.0
        if (over <= capped).all():
            return scale, _weights(counts, scale, exponent)
        capped |= over


def _weights(counts: npt.NDArray[np.int64], scale: float, exponent: float) -> Vector:
    weights = np.minimum(scale * (1.0 + counts) ** exponent, 1.0)
    return np.where(counts > 0, weights, 0.0).astype(np.float32)
