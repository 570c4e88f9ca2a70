"""Last.fm 2K, 20 % of each user's rows held out: recall@20 and NDCG@20, defaults against everybody's best."""

from __future__ import annotations

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.peers import Quality
from benchmarks.results import Options, Result, Row
from timbral.judging.hold_out import hold_out
from timbral.judging.popularity import popularity_ranking
from timbral.models.nmf_model import NMFModel

SKLEARN_FACTORS = 50  # its best on this data; at 100 it takes ten times as long and is worse


def run(options: Options) -> Result:
    data = datasets.lastfm(options.lastfm)
    if data is None:
        return Result("lastfm_quality", skipped="needs LASTFM=folder of Last.fm 2K (user_artists.dat)")
    splits = [hold_out(data.csr(), 0.2, seed) for seed in range(1 if options.quick else 5)]
    ours = [
        peers.quality_of_ours(NMFModel(random_state=seed).fit(train), held) for seed, (train, held) in enumerate(splits)
    ]
    mean = Quality.mean(ours)
    by_k, als, settings = {}, {}, {}
    for factors in (50, 100) if options.quick else (16, 32, 50, 64, 100, 128):
        by_k[factors] = Quality.mean(
            peers.quality_of_ours(NMFModel(factors, seed).fit(train), held) for seed, (train, held) in enumerate(splits)
        )
        chosen, _ = peers.best_als(*splits[0], factors, quick=options.quick)
        settings[factors] = str(chosen)
        als[factors] = Quality.mean(
            peers.quality_of_als(chosen.fit(train, seed), train, held) for seed, (train, held) in enumerate(splits)
        )
    train, held = splits[0]
    log_train = train.log1p()
    sklearn = peers.quality_of_factors(*peers.fit_sklearn(log_train, SKLEARN_FACTORS)[:2], train, held)
    users = peers.users_of(held)
    popular = Quality.of(popularity_ranking(train, 20, users), users, held)
    best = max(als, key=lambda factors: als[factors].recall + als[factors].ndcg)
    beaten = min(by_k[factors].recall / als[factors].recall for factors in als)
    peer = f"implicit {als[best]} ({settings[best]}); sklearn {sklearn}; popularity {popular}"
    per_k = ", ".join(f"{factors}: {by_k[factors]} to {als[factors]}" for factors in als)
    note = f"{len(splits)} seeds, k=100. At the same k, ours to implicit's best: {per_k}"
    return Result(
        "lastfm_quality",
        [
            Row("Last.fm recall@20", mean.recall, "", 0.294, 0.300, f"{mean}", peer, note),
            Row("Last.fm NDCG@20", mean.ndcg, "", 0.299, 0.306, f"{mean}", "as above"),
            Row(
                "Last.fm recall@20, lead over implicit's best at the same k, least", beaten, "×", 1.0, 1.0, "", "", note
            ),
        ],
        {
            "ours": [[quality.recall, quality.ndcg] for quality in ours],
            "by_k": {factors: [quality.recall, quality.ndcg] for factors, quality in by_k.items()},
            "implicit_by_k": {factors: [quality.recall, quality.ndcg] for factors, quality in als.items()},
            "implicit_settings": settings,
            "sklearn": [SKLEARN_FACTORS, sklearn.recall, sklearn.ndcg],
            "popularity": [popular.recall, popular.ndcg],
        },
    )


if __name__ == "__main__":
    main(run)
