"""Last.fm 2K: the last 20 % of each user's plays folded into an older model, beside a training that has seen them."""

from __future__ import annotations

import numpy as np

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.peers import Quality
from benchmarks.results import Options, Result, Row
from timbral.judging.hold_out import hold_out
from timbral.models.nmf_model import NMFModel

TOP_K = 20


def run(options: Options) -> Result:
    data = datasets.lastfm(options.lastfm)
    if data is None:
        return Result("fold_in_quality", skipped="needs LASTFM=folder of Last.fm 2K (user_artists.dat)")
    retrained, folded, unrefreshed = [], [], []
    for seed in range(1 if options.quick else 3):
        plays, held = hold_out(data.csr(), 0.2, seed)
        known, _ = hold_out(plays, 0.2, 100 + seed)
        users = peers.users_of(held)
        older = NMFModel(random_state=seed).fit(known)
        retrained.append(peers.quality_of_ours(NMFModel(random_state=seed).fit(plays), held))
        ranking = older.recommend(plays=plays[users], top_k=TOP_K)
        folded.append(Quality.of(ranking, users, held))
        # What stays where nobody refreshes: the older model's list, less what was played meanwhile.
        ranking = older.recommend(np.asarray(users), top_k=TOP_K, seen=plays[users])
        unrefreshed.append(Quality.of(ranking, users, held))
    ours, peer, least = Quality.mean(folded), Quality.mean(retrained), Quality.mean(unrefreshed)
    note = f"{len(folded)} seeds; the older model's lists without what was played since: {least}"
    row = Row(
        "fold-in of the last 20 % of plays, share of a retraining's recall@20", ours.recall / peer.recall, "", 0.9,
        0.98, f"{ours}", f"retrained {peer}", note,
    )  # fmt: skip
    return Result("fold_in_quality", [row], {"folded": [[q.recall, q.ndcg] for q in folded]})


if __name__ == "__main__":
    main(run)
