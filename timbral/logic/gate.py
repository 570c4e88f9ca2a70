"""The gate: what may go live by itself. A candidate that is measurably worse than the live model may not, nor one that
cannot be compared.

Both rank for the same users and are judged by the same held-out rows. The candidate is the model of the training's
evaluation, which saw only the rest; the live model is that of its own training's evaluation, with the users' rest
folded in, so that neither has seen the held-out rows. The live one ranks among the items of the new data set; held-out
items that it does not know are missed.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.data.interactions import Interactions
from timbral.judging.list_metrics import judge_lists
from timbral.judging.ranking import Ranking
from timbral.logic.split import Split
from timbral.models.nmf_model import NMFModel
from timbral.models.search.top_k import TopK
from timbral.versions.served_model import ServedModel

__all__ = ["FIRST", "Verdict", "compare", "incomparable"]

OVERRULES = "; promote='always' overrules"
MAX_USERS = 10_000
MARGIN_ERRORS = 2.0
MARGIN_SHARE = 0.01
"""Worse is: by more than two standard errors of the paired difference and 1 % of the live value, which is what another
seed does."""
LEAST_SHARE = 0.5
"""Of the live model's users, rows, items and quality that a new data set must leave: one with less is more likely
broken than new."""
LEAST_USERS = 50
"""Users to judge by; fewer where the live model was judged by fewer than twice as many."""


class Verdict(NamedTuple):
    """``outcome`` decides and ``reason`` says why; the values are mean NDCG@k over ``n_users`` users, None where
    nothing was compared."""

    outcome: Literal["first", "not worse", "worse", "not compared"]
    reason: str
    against: str | None = None
    candidate: float | None = None
    live: float | None = None
    margin: float | None = None
    n_users: int = 0

    @property
    def promotes(self) -> bool:
        """Whether the candidate may go live by itself."""
        return self.outcome in ("first", "not worse")

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value is not None}


FIRST = Verdict("first", "the first model")


def incomparable(data: Interactions, live: ServedModel) -> Verdict | None:
    """Why a model of ``data`` cannot be compared with the live one, whatever its quality; None where it can be."""
    problem = _other_kind(data, live) or _too_small(data, live)
    if problem is None and Split.read(live.record.get("split")) is None:
        problem = "the live model has seen all of its rows (it was trained with holdout 0)"
    return None if problem is None else not_compared(problem, live)


def not_compared(problem: str, live: ServedModel) -> Verdict:
    """The verdict that leaves it to a person."""
    return Verdict("not compared", f"not compared with the live model: {problem}{OVERRULES}", live.version)


def _other_kind(data: Interactions, live: ServedModel) -> str | None:
    for what, new, old in (("users'", data.user_ids, live.user_ids), ("items'", data.item_ids, live.item_ids)):
        if new.is_int != old.is_int:
            kinds = ("numbers" if index.is_int else "text" for index in (new, old))
            return "the {} ids are {}, the live model's are {}".format(what, *kinds)
    return None


def _too_small(data: Interactions, live: ServedModel) -> str | None:
    rows, live_rows = int(data.matrix.nnz), live.model.n_interactions
    users, live_users = data.matrix.shape[0], live.model.n_users
    for what, new, old in (("rows", rows, live_rows), ("users", users, live_users)):
        if new < LEAST_SHARE * old:
            return f"{new:,} {what} are far fewer than its {old:,}"
    known = int((data.item_ids.codes_of(live.item_ids) >= 0).sum())
    if known < LEAST_SHARE * len(live.item_ids):
        return f"only {known:,} of its {len(live.item_ids):,} items are in the data set"
    return None


def compare(
    candidate: NMFModel,
    live: ServedModel,
    train: sparse.csr_matrix,
    held_out: sparse.csr_matrix,
    item_ids: IdIndex,
    *,
    k: int = 20,
    random_state: int = 0,
) -> Verdict:
    """Judge ``candidate``, fitted to ``train``, against ``live`` on ``held_out``, both CSR with the columns of
    ``item_ids``."""
    users = np.flatnonzero(np.diff(held_out.indptr))
    judged_before = int(live.record.get("metrics", {}).get("n_users", LEAST_USERS))
    if len(users) < max(1, min(LEAST_USERS, judged_before // 2)):
        return not_compared(f"only {len(users)} users have something held out to judge by", live)
    if len(users) > MAX_USERS:
        users = np.sort(np.random.default_rng(random_state).choice(users, MAX_USERS, replace=False))
    relevant = held_out[users]
    mine = judge_lists(Ranking.of(candidate.recommend(users, top_k=k)), relevant, k).ndcg
    theirs = judge_lists(Ranking.of(_recommended_by(live, train[users], item_ids, k)), relevant, k).ndcg
    known_as = live.record.get("metrics", {}).get(f"ndcg@{k}", 0.0)
    if min(len(users), judged_before) >= LEAST_USERS and theirs.mean() < LEAST_SHARE * known_as:
        problem = (
            f"it reaches NDCG@{k} {theirs.mean():.4f} on the new data set and {known_as:.4f} on its own: "
            "they have little in common"
        )
        return not_compared(problem, live)
    difference = mine - theirs
    error = float(difference.std(ddof=1) / np.sqrt(len(users))) if len(users) > 1 else 0.0
    margin = MARGIN_ERRORS * error + MARGIN_SHARE * float(theirs.mean())
    outcome: Literal["worse", "not worse"] = "worse" if float(difference.mean()) < -margin else "not worse"
    values = f"NDCG@{k} {mine.mean():.4f} against {theirs.mean():.4f} of the live model"
    reason = f"{outcome}: {values} on the held-out rows of {len(users)} users (margin {margin:.4f})"
    return Verdict(outcome, reason, live.version, float(mine.mean()), float(theirs.mean()), margin, len(users))


def _recommended_by(live: ServedModel, rows: sparse.csr_matrix, item_ids: IdIndex, k: int) -> TopK:
    """What the live model recommends to users with these rows, in the new data set's codes."""
    model = live.evaluated or live.model
    live_code = live.item_ids.codes_of(item_ids)
    known = live_code[rows.indices] >= 0
    ends = np.concatenate([[0], np.cumsum(known)])[rows.indptr]
    columns = live_code[rows.indices[known]]
    folded = sparse.csr_matrix((rows.data[known], columns, ends), shape=(rows.shape[0], len(live.item_ids)))
    folded.sort_indices()
    top = model.recommend(plays=folded, top_k=k, allowed=live_code[live_code >= 0].astype(np.int64))
    new_code = np.full(len(live.item_ids), -1, dtype=np.int32)
    new_code[live_code[live_code >= 0]] = np.flatnonzero(live_code >= 0)
    return TopK(top.indptr, new_code[top.item_indices], top.scores)
