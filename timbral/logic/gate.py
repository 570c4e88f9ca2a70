"""The gate: a candidate that is measurably worse on held-out data than the live model does not go live.

Both rank for the same users and are judged by the same held-out rows. The candidate is the model of the training's
evaluation, which saw only the rest; the live model is that of its own training's evaluation, with the users' rest folded in,
so that neither has seen the held-out rows. The live one ranks among the items of the new data set; held-out items that
it does not know are missed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.models.nmf_model import NMFModel
from timbral.models.search.top_k import TopK
from timbral.versions.served_model import ServedModel

__all__ = ["Verdict", "compare", "ndcg_by_user"]

MAX_USERS = 10_000
MARGIN_ERRORS = 2.0
MARGIN_SHARE = 0.01
"""Worse is: by more than two standard errors of the paired difference and 1 % of the live value, which is what another seed does."""


class Verdict(NamedTuple):
    """``worse`` decides; the values are mean NDCG@k over ``n_users`` users."""

    worse: bool
    candidate: float
    live: float
    margin: float
    n_users: int
    k: int

    def __str__(self) -> str:
        word = "worse" if self.worse else "not worse"
        values = f"NDCG@{self.k} {self.candidate:.4f} against {self.live:.4f} of the live model"
        return f"{word}: {values} on the held-out rows of {self.n_users} users (margin {self.margin:.4f})"


def compare(
    candidate: NMFModel,
    live: ServedModel,
    train: Any,
    held_out: Any,
    item_ids: IdIndex,
    *,
    k: int = 20,
    random_state: int = 0,
) -> Verdict:
    """Judge ``candidate``, fitted to ``train``, against ``live`` on ``held_out``, both CSR with the columns of ``item_ids``."""
    users = np.flatnonzero(np.diff(held_out.indptr))
    if len(users) > MAX_USERS:
        users = np.sort(np.random.default_rng(random_state).choice(users, MAX_USERS, replace=False))
    relevant = held_out[users]
    mine = ndcg_by_user(candidate.recommend(users, top_k=k), relevant, k)
    theirs = ndcg_by_user(_recommended_by(live, train[users], item_ids, k), relevant, k)
    difference = mine - theirs
    error = float(difference.std(ddof=1) / np.sqrt(len(users))) if len(users) > 1 else 0.0
    margin = MARGIN_ERRORS * error + MARGIN_SHARE * float(theirs.mean())
    worse = float(difference.mean()) < -margin
    return Verdict(worse, float(mine.mean()), float(theirs.mean()), margin, len(users), k)


def _recommended_by(live: ServedModel, rows: Any, item_ids: IdIndex, k: int) -> TopK:
    """What the live model recommends to users with these rows, in the new data set's codes."""
    model = live.evaluated or live.model
    live_code = live.item_ids.codes(item_ids.ids(range(len(item_ids))))
    known = live_code[rows.indices] >= 0
    ends = np.concatenate([[0], np.cumsum(known)])[rows.indptr]
    columns = live_code[rows.indices[known]]
    folded = sparse.csr_matrix((rows.data[known], columns, ends), shape=(rows.shape[0], len(live.item_ids)))
    folded.sort_indices()
    top = model.recommend(plays=folded, top_k=k, allowed=live_code[live_code >= 0].astype(np.int64))
    new_code = np.full(len(live.item_ids), -1, dtype=np.int32)
    new_code[live_code[live_code >= 0]] = np.flatnonzero(live_code >= 0)
    return TopK(top.indptr, new_code[top.item_indices], top.scores)


def ndcg_by_user(top: TopK, relevant: Any, k: int) -> npt.NDArray[np.float64]:
    """NDCG@k of each list against its row of ``relevant``, float64 (n_lists,); binary gains, ideal over min(k, |relevant|)."""
    lengths = np.diff(top.indptr)
    owner = np.repeat(np.arange(len(top), dtype=np.int64), lengths)
    rank = np.arange(len(top.item_indices)) - np.repeat(top.indptr[:-1], lengths)
    n_items = relevant.shape[1]
    n_relevant = np.diff(relevant.indptr)
    stored = np.repeat(np.arange(relevant.shape[0], dtype=np.int64), n_relevant) * n_items + relevant.indices
    hit = np.isin(owner * n_items + top.item_indices, stored)
    gain = np.bincount(owner, weights=hit / np.log2(rank + 2.0), minlength=len(top))
    ideal = np.cumsum(1 / np.log2(np.arange(k) + 2.0))[np.minimum(n_relevant, k) - 1]
    return np.asarray(gain / ideal, dtype=np.float64)
