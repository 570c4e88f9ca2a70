"""The classic objective, ‖X − WH‖²: time to scikit-learn's final loss within 0.1 %."""

from __future__ import annotations

import contextlib
import time

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.results import Options, Result, Row
from timbral.errors import TrainingError
from timbral.models.nmf_model import NMFModel

CLASSIC = {"unobserved_weight": 1.0, "confidence": 0.0, "target": "value", "regularization": 0.0}


def run(options: Options) -> Result:
    peers.warm_up()
    small = 5 if options.quick else 1
    k = 16 if options.quick else 32
    plays = datasets.listening(30_000 // small, 40_000 // small, 800_000 // small, seed=5).csr().log1p()
    _, _, sklearn, theirs = peers.fit_sklearn(plays, k)
    target = sklearn.reconstruction_err_**2 * 1.001
    curve: list[tuple[float, float]] = []
    start = time.perf_counter()

    def watch(_iteration: int, _max_iter: int, loss: float) -> bool:
        curve.append((time.perf_counter() - start, loss))
        return loss > target

    with contextlib.suppress(TrainingError):  # that is how a callback ends it
        NMFModel(k, 0, 2000, 0.0, **CLASSIC).fit(plays, callback=watch)
    mine, loss = curve[-1]
    reached = loss <= target
    note = (
        f"k={k}; sklearn {sklearn.n_iter_} iterations to {target / 1.001:.0f}; ours {len(curve)} sweeps to {loss:.0f}"
    )
    row = Row(
        f"classic objective, {plays.shape[0]:,} × {plays.shape[1]:,}, {plays.nnz:,}",
        theirs / mine if reached else 0.0,
        "×",
        3,
        8,
        f"{mine:.1f} s" if reached else "not reached",
        f"sklearn {theirs:.1f} s",
        note,
    )
    numbers = {
        "ours_s": mine,
        "sklearn_s": theirs,
        "sklearn_iterations": sklearn.n_iter_,
        "target": target,
        "curve": curve,
    }
    return Result("classic_speed", [row], numbers)


if __name__ == "__main__":
    main(run)
