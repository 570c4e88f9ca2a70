"""The newest held out, on made-up data that nothing was tuned to: ratings like MovieLens, plays with drift, very sparse
plays."""

from __future__ import annotations

import dataclasses

from scipy import sparse

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.results import Options, Result, Row
from timbral.judging.hold_out import hold_out, hold_out_last
from timbral.models.nmf_model import NMFModel


def run(options: Options) -> Result:
    small = 4 if options.quick else 1
    made = {
        "ratings, MovieLens-like": datasets.ratings(6000 // small, 3700 // small, 600_000 // small**2, seed=1),
        "plays that drift": datasets.listening(6000 // small, 8000 // small, 240_000 // small, drift=0.6, seed=2),
        "very sparse plays": datasets.listening(
            20_000 // small, 10_000 // small, 160_000 // small, n_genres=25, seed=3
        ),
    }
    rows, numbers = [], {}
    for name, plays in made.items():
        matrix, times = plays.csr(), plays.csr_of(plays.times + 1)
        splits = {
            "leave-last-out": hold_out_last(matrix, times.data, 0),
            "newest 20 %": hold_out(matrix, 0.2, 0, times.data),
        }
        for how, (train, held) in splits.items():
            if how != "leave-last-out" and name != "plays that drift":
                continue
            ours = {k: peers.quality_of_ours(NMFModel(k).fit(train), held) for k in (64, 100)}
            chosen, _ = peers.best_als(train, held, 64, quick=options.quick)
            als = {
                k: (each := dataclasses.replace(chosen, factors=k), peers.quality_of_als(each.fit(train), train, held))
                for k in (32, 64, 100)
            }
            best = max((quality.recall + quality.ndcg, k) for k, (_, quality) in als.items())[1]
            settings, theirs = als[best]
            mine = ours[100]
            ratio = min(mine.recall / theirs.recall, mine.ndcg / theirs.ndcg)
            note = f"{_shape(matrix)}; the worse of recall and NDCG; ours at k=64 {ours[64]}"
            rows.append(
                Row(
                    f"{name}, {how}, defaults",
                    ratio,
                    "×",
                    1.0,
                    1.0001,
                    str(mine),
                    f"implicit {theirs} ({settings})",
                    note,
                )
            )
            numbers[f"{name}, {how}"] = {
                "ours": {k: [q.recall, q.ndcg] for k, q in ours.items()},
                "implicit": {k: [q.recall, q.ndcg, str(s)] for k, (s, q) in als.items()},
            }
    return Result("time_quality", rows, numbers)


def _shape(matrix: sparse.csr_matrix) -> str:
    return f"{matrix.shape[0]:,} × {matrix.shape[1]:,}, {matrix.nnz:,} entries"


if __name__ == "__main__":
    main(run)
