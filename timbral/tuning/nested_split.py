"""Nested hold-out: an outer part of each user's rows that no trial sees, and inner parts that trials are judged on.

The outer part is what ``train_model`` holds out of the same data, so that the figures can be compared. The inner parts
are held out of the rest: other ones at random for each fold, or going back in time, each fold older than the one
before. All trials have the same folds, so that what differs between two is what their settings make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.interactions import Interactions
from timbral.errors import DataError
from timbral.judging.hold_out import hold_out
from timbral.logic.split import Parts, Split
from timbral.plays.weights import DAY_US, LEAST_WEIGHT

__all__ = ["N_FOLDS", "NestedSplit", "aged", "first_look"]

N_FOLDS: Final = 3
"""That a trial is judged on."""

N_FURTHER: Final = 3
"""That the best trials are judged on too, at the end; none that go back in time: each has a fifth less to learn
from."""

MORE_FURTHER: Final = 6
"""Of so few entries as a first look has at most: one fold more is cheap there, and says little."""

LEAST_USERS: Final = 20
"""Users with something held out; of fewer, every difference is noise."""

MAX_ENTRIES: Final = 500_000
"""Of the first look at a trial."""

INNER_SHARE: Final = 0.2


@dataclass(frozen=True)
class NestedSplit:
    """``outer`` is judged on once, at the end. ``folds`` are of ``outer.train`` alone; a trial gets the first
    ``N_FOLDS``."""

    outer: Parts
    folds: tuple[Parts, ...]

    @classmethod
    def of(cls, data: Interactions, holdout: float) -> Self:
        """The same for the same data.

        Args:
            holdout: share of each user's rows in the outer part.

        Raises:
            DataError: too few users have rows to hold out.
        """
        split = Split.of(data, holdout)
        assert split is not None  # noqa: S101 - for the type checker; the message has a share above 0
        outer = split.apply(data)
        folds = []
        rest = outer
        n_further = MORE_FURTHER if outer.train.nnz <= MAX_ENTRIES else N_FURTHER
        for fold in range(N_FOLDS if outer.times is not None else N_FOLDS + n_further):
            folds.append(_held_out_of(rest if outer.times is not None else outer, seed=fold + 1))
            rest = folds[-1]
        for part in (outer, folds[0]):
            n_judged = int(np.count_nonzero(np.diff(part.held_out.indptr)))
            if n_judged < LEAST_USERS:
                users, entries = data.matrix.shape[0], int(data.matrix.nnz)
                raise DataError(
                    f"{n_judged} of {users} users ({entries} plays) have plays enough to hold some out twice; a search "
                    f"needs {LEAST_USERS} or more: of fewer, every difference is noise"
                )
        return cls(outer, tuple(folds))


def first_look(fold: Parts, seed: int) -> Parts:
    """``fold`` with so few users that a look is cheap; the fold itself where it is small."""
    if fold.train.nnz <= MAX_ENTRIES:
        return fold
    order = np.random.default_rng(seed).permutation(fold.train.shape[0])
    entries = np.cumsum(np.diff(fold.train.indptr)[order])
    users = np.sort(order[: max(LEAST_USERS, int(np.searchsorted(entries, MAX_ENTRIES)))])
    times = None
    if fold.times is not None:
        owner = np.repeat(np.arange(fold.train.shape[0]), np.diff(fold.train.indptr))
        times = fold.times[np.isin(owner, users)]
    return Parts(fold.train[users], fold.held_out[users], times)


def aged(parts: Parts, half_life_days: float | None) -> Parts:
    """``parts`` whose entries of the training count half for each ``half_life_days`` that they are older than the
    newest. An entry's plays count as if all of them were its newest: near enough to search by."""
    if half_life_days is None or parts.times is None:
        return parts
    ages_us = parts.times.max(initial=0) - parts.times
    weights = np.exp2(-ages_us / (half_life_days * DAY_US)).clip(LEAST_WEIGHT, 1.0)
    train = parts.train.copy()
    train.data = (train.data * weights).astype(parts.train.dtype)
    return parts._replace(train=train)


def _held_out_of(parts: Parts, seed: int) -> Parts:
    matrix, times = parts.train, parts.times
    if times is None:
        return Parts(*hold_out(matrix, INNER_SHARE, seed), None)
    # Split by their places, so that the times can follow.
    places = sparse.csr_matrix((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
    train, held_out = hold_out(places, INNER_SHARE, seed, times)
    kept: npt.NDArray[np.int64] = times[train.data - 1]
    for part in (train, held_out):
        part.data = matrix.data[part.data - 1]
    return Parts(train, held_out, kept)
