"""What each choice of the objective is worth: the defaults with one of them taken back, ``python -m
benchmarks.ablation``.

Not part of the whole run: it compares us with ourselves.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import datasets, peers
from benchmarks.command import parse_options
from benchmarks.peers import Csr, Quality
from benchmarks.results import Options
from timbral.judging.hold_out import hold_out, hold_out_last
from timbral.models.nmf_model import NMFModel

CHOICES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "what was not observed aims at 0": {"unobserved_target": 0.0},
    "plays do not count": {"confidence": 0.0, "target": "one"},
    "what is popular weighs no more": {"popularity_exponent": 0.0},
    "the same regularisation for everybody": {"regularization_exponent": 0.0},
    "regularization 0.5, not chosen": {"regularization": 0.5},
    "regularization 0.5, nothing aims above 0": {"regularization": 0.5, "unobserved_target": 0.0},
}
FACTORS = (16, 64)


def splits(options: Options) -> dict[str, list[tuple[Csr, Csr]]]:
    small = 4 if options.quick else 1
    seeds = range(1 if options.quick else 3)
    ratings = datasets.ratings(6000 // small, 3700 // small, 600_000 // small**2, seed=1)
    plays = datasets.listening(8000 // small, 12_000 // small, 320_000 // small, seed=6).csr()
    made = {
        "made-up plays": [hold_out(plays, 0.2, 0)],
        "made-up ratings, the last": [hold_out_last(ratings.csr(), ratings.csr_of(ratings.times + 1).data, 0)],
    }
    lastfm = datasets.lastfm(options.lastfm)
    return made if lastfm is None else {"Last.fm": [hold_out(lastfm.csr(), 0.2, seed) for seed in seeds], **made}


def main() -> int:
    options, _ = parse_options(names=[])
    parts = splits(options)
    table = Table("", *(f"{name}, k={k}" for name in parts for k in FACTORS))
    for choice, changed in CHOICES.items():
        cells = []
        for pairs in parts.values():
            for k in FACTORS:
                models = (NMFModel(k, seed, **changed).fit(train) for seed, (train, _) in enumerate(pairs))
                found = [peers.quality_of_ours(model, held) for model, (_, held) in zip(models, pairs, strict=True)]
                cells.append(str(Quality.mean(found)))
        table.add_row(choice, *cells)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
