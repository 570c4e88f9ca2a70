"""What a trial is judged by: the mean of recall and NDCG at 20 over the full ranking, user by user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from timbral.judging.list_metrics import judge_lists
from timbral.judging.ranking import Ranking
from timbral.logic.split import Parts
from timbral.models.nmf_model import NMFModel

__all__ = ["K", "Quality", "judged"]

K: Final = 20
Vector = npt.NDArray[np.float64]


class Quality(NamedTuple):
    """float64 (n_users,) each: one value for each judged user, in their order."""

    recall: Vector
    ndcg: Vector

    @property
    def both(self) -> Vector:
        """What is searched for."""
        return (self.recall + self.ndcg) / 2.0

    @property
    def mean(self) -> float:
        return float(self.both.mean())

    @classmethod
    def mean_of(cls, fits: Sequence[Self]) -> Self:
        """The mean over fits that were judged for the same users, user by user."""
        return cls(*(np.mean([one[which] for one in fits], axis=0) for which in (0, 1)))


def judged(model: NMFModel, parts: Parts, max_users: int) -> Quality:
    """How well ``model``, fitted to ``parts.train``, ranks what was held out, for at most ``max_users`` users: always
    the same ones."""
    users = np.flatnonzero(np.diff(parts.held_out.indptr))
    if len(users) > max_users:
        users = np.sort(np.random.default_rng(0).choice(users, max_users, replace=False))
    found = judge_lists(Ranking.of(model.recommend(users, top_k=K)), parts.held_out[users], K)
    return Quality(found.recall, found.ndcg)
