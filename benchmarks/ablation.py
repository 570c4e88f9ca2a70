"""What each choice is worth: the defaults with one of them taken back, ``python -m benchmarks.ablation FOLDER``.

FOLDER has the open data sets that ``benchmarks.quality`` reads; without it the made-up ones stand for them.

Not part of the whole run: it compares us with ourselves.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import datasets, peers, quality
from benchmarks.peers import Csr, Quality
from timbral.judging.hold_out import hold_out, hold_out_last
from timbral.models.nmf_model import NMFModel

CHOICES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no neighbours": {"n_neighbors": 0},
    "20 neighbours": {"n_neighbors": 20},
    "200 neighbours": {"n_neighbors": 200},
    "plays count among co-plays, e=.5": {"neighbor_play_exponent": 0.5},
    "neighbours hardly regularized, λ=.1": {"neighbor_regularization": 0.1},
    "what was not observed aims at 0": {"unobserved_target": 0.0},
    "plays do not count": {"confidence": 0.0, "target": "one"},
    "what is popular weighs no more": {"popularity_exponent": 0.0},
    "the same regularisation for everybody": {"regularization_exponent": 0.0},
    "regularization 0.5, not chosen": {"regularization": 0.5},
    "regularization 0.5, nothing aims above 0": {"regularization": 0.5, "unobserved_target": 0.0},
}


def splits(folder: Path | None, lastfm_folder: str | None) -> dict[str, list[tuple[Csr, Csr]]]:
    """Pairs of what is known and what is held out, by data set; several of one set are averaged."""
    found = {}
    lastfm = datasets.lastfm(lastfm_folder)
    if lastfm is not None:
        found["Last.fm"] = [hold_out(lastfm.csr(), 0.2, seed) for seed in range(3)]
    if folder is not None:
        for path in sorted(folder.glob("*.npz")):
            parts = quality.read(path)
            found[path.stem] = [(parts["train"], parts["test"])]
        return found
    ratings = datasets.ratings(6000, 3700, 600_000, seed=1)
    plays = datasets.listening(8000, 12_000, 320_000, seed=6).csr()
    found["made-up plays"] = [hold_out(plays, 0.2, 0)]
    found["made-up ratings, the last"] = [hold_out_last(ratings.csr(), ratings.csr_of(ratings.times + 1).data, 0)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="What each choice is worth: the defaults with one taken back.")
    parser.add_argument("folder", type=Path, nargs="?", help="folder of .npz files")
    parser.add_argument("--lastfm", help="folder of Last.fm 2K")
    parser.add_argument("-k", type=int, default=64, help="factors")
    options = parser.parse_args()
    parts = splits(options.folder, options.lastfm)
    table = Table(f"k={options.k}", *parts)
    for choice, changed in CHOICES.items():
        cells = []
        for name, pairs in parts.items():
            models = (NMFModel(options.k, seed, **changed).fit(train) for seed, (train, _) in enumerate(pairs))
            found = [peers.quality_of_ours(model, held) for model, (_, held) in zip(models, pairs, strict=True)]
            cells.append(str(Quality.mean(found)))
            print(f"{choice}, {name}: {cells[-1]}", file=sys.stderr, flush=True)
        table.add_row(choice, *cells)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
