"""Seconds of training until a model is as good as implicit's ALS ever gets, k=64 and 256.

implicit is given the settings that a grid found on the very data it is judged by, and its search is in no time. Ours is
timed twice: all of a fit with defaults, which chooses its settings from the training data, and a fit that is given what
that choice was, as implicit is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.measure import seconds
from benchmarks.peers import Als, Quality
from benchmarks.results import Options, Result, Row
from timbral.judging.hold_out import hold_out
from timbral.models.nmf_model import NMFModel

SWEEPS = (1, 2, 3, 4, 5, 6, 8, 11, 15, 22, 30)
SHORT_S = 5.0
Curve = list[tuple[float, float, int]]


def run(options: Options) -> Result:
    peers.warm_up()
    small = 5 if options.quick else 1
    sets = {"made-up plays": datasets.listening(8000 // small, 12_000 // small, 320_000 // small, seed=6)}
    lastfm = datasets.lastfm(options.lastfm)
    if lastfm is not None:
        sets["Last.fm"] = lastfm
    result = Result("time_to_quality")
    for name, plays in sets.items():
        train, held = hold_out(plays.csr(), 0.2, 0)
        chosen, _ = peers.best_als(train, held, 64, quick=options.quick)
        for k in (16, 32) if options.quick else (64, 256):
            _compare(f"{name}, k={k}", train, held, dataclasses.replace(chosen, factors=k), result)
    return result


def _compare(name: str, train: peers.Csr, held: peers.Csr, settings: Als, result: Result) -> None:
    theirs = _curve(
        lambda sweeps: dataclasses.replace(settings, iterations=sweeps).fit(train),
        lambda model: peers.quality_of_als(model, train, held),
    )
    goal = max(score for _, score, _ in theirs)
    their_time = _time_to(theirs, goal)
    result.numbers[name] = {"implicit": theirs, "goal": goal}
    chosen = NMFModel(settings.factors, 0).fit(train).chosen_
    for how, given in (("settings given to both", chosen), ("ours chooses its settings", {})):
        ours = _curve(
            functools.partial(_fit, train, settings.factors, given),
            lambda model: peers.quality_of_ours(model, held),
        )
        mine, best = _time_to(ours, goal), max(score for _, score, _ in ours)
        result.rows.append(
            Row(
                f"time to implicit's quality, {name}, {how}",
                their_time / mine if mine else 0.0,
                "×",
                1.5,
                3,
                f"{mine:.2f} s" if mine else "not reached",
                f"implicit {their_time:.2f} s",
                f"recall@20 + NDCG@20 of {goal:.3f}; ours gets to {best:.3f}; {settings}",
            )
        )
        result.numbers[name]["ours" if given else "ours, with its choice"] = ours


def _fit(train: peers.Csr, k: int, given: dict[str, float], sweeps: int) -> NMFModel:
    return NMFModel(k, 0, sweeps, 0.0, **given).fit(train)


def _curve(fit: Callable[[int], Any], judge: Callable[[Any], Quality]) -> Curve:
    """(seconds, recall + NDCG, sweeps) of fits from scratch with more and more sweeps, to where more are not better."""
    points: Curve = []
    for sweeps in SWEEPS:
        took, model = seconds(functools.partial(fit, sweeps), 1)
        if took < SHORT_S:
            took = min(took, seconds(functools.partial(fit, sweeps), 2)[0])
        quality = judge(model)
        points.append((took, quality.recall + quality.ndcg, sweeps))
        if len(points) >= 6 and max(score for _, score, _ in points[-3:]) < max(score for _, score, _ in points):
            break
    return points


def _time_to(curve: Curve, goal: float) -> float:
    """0 where it is never reached."""
    return min((took for took, score, _ in curve if score >= goal), default=0.0)


if __name__ == "__main__":
    main(run)
