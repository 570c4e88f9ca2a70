"""A large catalogue: one user's list, similar items, and the ten best for many users, exact, against hnswlib and faiss.

Both peers are approximate: each is given the least effort with which its recall of the true ten best reaches 98 %, or,
where it does not get there, its greatest effort. Users are a sample, in one call; all use every core. Building an index
is not in the times, and is told beside. hnswlib has no wheels: it is left out where `pip install hnswlib`, which needs a
C++ compiler, was not run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.measure import seconds
from benchmarks.results import Options, Result, Row
from timbral.config.cores import available_cores
from timbral.models.nmf_model import NMFModel
from timbral.models.search.top_k import TopK, top_k

ENOUGH = 0.98
K = 10
USERS, QUESTIONS = 2_000, 100


def run(options: Options) -> Result:
    peers.warm_up()
    n_users, n_items, n_plays = (20_000, 50_000, 400_000) if options.quick else (300_000, 1_000_000, 10_000_000)
    plays = datasets.listening(n_users, n_items, n_plays, seed=7).csr()
    fitted = NMFModel(64, max_iter=6, regularization=0.5, n_neighbors=0, recency_weight=0.0).fit(plays)
    result = Result("large_catalogue")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        without = sum(array.nbytes for array in fitted.tensors()[0].values())
        write_s, _ = seconds(lambda: fitted.save(path), 1)
        model = NMFModel(n_threads=1).load(path)
        size = path.stat().st_size
    what = f"{n_items:,} items, k=64"
    rng = np.random.default_rng(0)
    users = rng.choice(np.flatnonzero(np.diff(plays.indptr) > 0), USERS, replace=False)
    one = _median(lambda user: model.recommend([user], top_k=K), users[:QUESTIONS])
    alike = _median(lambda item: model.similar_items(item, K), rng.choice(plays.indices, QUESTIONS))
    looked = _median(lambda item: fitted.similar_items(item, K), rng.choice(plays.indices, 5))
    note = (
        f"the file has {size / 1e6:,.0f} MB, {(size - without) / 1e6:,.0f} MB of it indexes; written in {write_s:.1f} s"
    )
    result.rows += [
        Row(f"one user's list, {what}, index from the file", one, "ms", 1, 0.4, f"{one:.2f} ms", "", note, True),
        Row(f"similar items, {what}, index from the file", alike, "ms", 3, 1, f"{alike:.2f} ms",
            f"looking at every item {looked:.1f} ms", less_is_better=True),
    ]  # fmt: skip
    add_peers(result, model, users, what)
    return result


def add_peers(result: Result, model: NMFModel, users: Any, what: str) -> None:
    """The ten best for ``users``, in one call each."""
    vectors, wanted = np.ascontiguousarray(model.item_factors.T), model.user_factors[users]

    def search() -> TopK:
        return top_k(wanted, vectors.T, K, index=model.item_index)

    truth = search().item_indices.reshape(len(users), K)
    for name, make in [("faiss IVF", _faiss), *([("hnswlib", _hnsw)] if find_spec("hnswlib") else [])]:
        build_s, (ask, efforts) = seconds(lambda make=make: make(vectors), 1)
        recall, effort, chosen = _least_effort(ask, efforts, wanted, truth)
        # One after the other, so that whatever else the machine does falls on both.
        both = [(seconds(search, 1)[0], seconds(lambda ask=ask, e=chosen: ask(wanted, e), 1)[0]) for _ in range(3)]
        ours, theirs = np.min(both, axis=0).tolist()
        note = f"{effort}, recall {recall:.3f}; its index took {build_s:.0f} s to build"
        row = Row(f"top-10 of {what}, exact, against {name}", theirs / ours, "×", 1, 3,
                  f"{ours / len(users) * 1e3:.3f} ms a user", f"{theirs / len(users) * 1e3:.3f} ms", note)  # fmt: skip
        result.rows.append(row)
        result.numbers[name] = {"ours_s": ours, "theirs_s": theirs, "recall": recall, "effort": effort}


def _least_effort(
    ask: Callable[[Any, int], Any], efforts: Iterable[tuple[str, int]], users: Any, truth: Any
) -> tuple[float, str, int]:
    for effort in efforts:
        found = ask(users, effort[1])
        recall = float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)]))
        if recall >= ENOUGH:
            break
    return recall, "{}={}".format(*effort), effort[1]


def _faiss(vectors: Any) -> tuple[Callable[[Any, int], Any], list[tuple[str, int]]]:
    faiss.omp_set_num_threads(available_cores())
    n_lists = int(4 * np.sqrt(len(vectors)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(64), 64, n_lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, len(vectors) // (40 * n_lists))])
    index.add(vectors)

    def search(users: Any, effort: int) -> Any:
        index.nprobe = effort
        return index.search(users, K)[1]

    return search, [
        ("nprobe", effort) for effort in (8, 16, 32, 64, 128, 256, 512, 1024, 2048, n_lists) if effort <= n_lists
    ]


def _hnsw(vectors: Any) -> tuple[Callable[[Any, int], Any], list[tuple[str, int]]]:
    index = import_module("hnswlib").Index(space="ip", dim=64)
    index.init_index(max_elements=len(vectors), ef_construction=100, M=16, random_seed=0)
    index.set_num_threads(available_cores())
    index.add_items(vectors)

    def search(users: Any, effort: int) -> Any:
        index.set_ef(effort)
        return index.knn_query(users, k=K)[0].astype(np.int64)

    return search, [("ef", effort) for effort in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)]


def _median(ask: Callable[[Any], Any], about: Any) -> float:
    """Milliseconds, each question at its second asking: the first one maps the file's pages."""
    return float(np.median([seconds(lambda one=one: ask(int(one)), 2)[0] for one in about]) * 1e3)


if __name__ == "__main__":
    main(run)
