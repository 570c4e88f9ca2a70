"""A fit with defaults, Last.fm 2K, k=100, against scikit-learn's NMF at its own."""

from __future__ import annotations

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.measure import seconds
from benchmarks.results import Options, Result, Row
from timbral.models.nmf_model import NMFModel


def run(options: Options) -> Result:
    peers.warm_up()
    data = datasets.lastfm(options.lastfm)
    where = "Last.fm"
    if data is None:
        data, where = datasets.listening(1900, 17_000, 92_000, seed=4), "made-up plays of Last.fm's size (no LASTFM)"
    plays = data.csr()
    k = 20 if options.quick else 100
    mine, model = seconds(lambda: NMFModel(k).fit(plays), 3)
    logs = plays.log1p()
    raw, logged = peers.fit_sklearn(plays, k)[3], peers.fit_sklearn(logs, k)[3]
    theirs = min(raw, logged)
    note = (
        f"sklearn {raw:.1f} s on plays, {logged:.1f} s on log1p(plays): the faster counts; ours {model.n_iter_} sweeps"
    )
    return Result(
        "fit_speed",
        [Row(f"fit, {where}, k={k}", theirs / mine, "×", 8, 15, f"{mine:.2f} s", f"sklearn {theirs:.1f} s", note)],
        {"ours_s": mine, "sklearn_plays_s": raw, "sklearn_log_s": logged, "sweeps": model.n_iter_},
    )


if __name__ == "__main__":
    main(run)
