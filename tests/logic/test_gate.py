"""The gate: worse means measurably worse, on the same held-out rows, for a model that has not seen them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from taste import history, served_model

from timbral.data.id_index import IdIndex
from timbral.judging.hold_out import hold_out_by_id
from timbral.logic.gate import compare, ndcg_by_user
from timbral.models.nmf_model import NMFModel
from timbral.models.search.top_k import TopK
from timbral.utils.evaluation import EvaluationMetrics
from timbral.versions.served_model import ServedModel


class Data:
    def __init__(self, rows: list[tuple[Any, Any, int]]) -> None:
        self.users, self.items = (IdIndex(sorted({row[place] for row in rows})) for place in (0, 1))
        entries = self.users.codes([r[0] for r in rows]), self.items.codes([r[1] for r in rows])
        shape = len(self.users), len(self.items)
        self.matrix = sparse.csr_matrix((np.array([r[2] for r in rows], np.float32), entries), shape=shape)
        self.train, self.held_out = hold_out_by_id(self.matrix, self.users, self.items, 0.3)

    def model(self, seed: int = 0, n_components: int = 8) -> NMFModel:
        return NMFModel(n_components, seed, 40, n_threads=1).fit(self.train)

    def live(self, evaluated: NMFModel) -> ServedModel:
        users = np.ones(len(self.items), np.int64)
        return ServedModel("20260101T000000-1", evaluated, self.users, self.items, users, evaluated, {})


ROWS = history(400)


def shuffled(model: NMFModel) -> NMFModel:
    """A model as good as chance: its items have changed places."""
    tensors, texts = model.tensors()
    order = np.random.default_rng(0).permutation(model.n_items)
    return NMFModel.from_tensors(
        tensors | {"item_vectors": np.ascontiguousarray(tensors["item_vectors"][order])}, texts
    )


def test_another_seed_is_not_worse() -> None:
    data = Data(ROWS)

    verdict = compare(data.model(seed=1), data.live(data.model(seed=2)), data.train, data.held_out, data.items)

    assert not verdict.worse
    assert verdict.n_users > 350
    assert verdict.candidate == pytest.approx(verdict.live, rel=0.1)
    assert "not worse: NDCG@20" in str(verdict)


def test_a_model_as_good_as_chance_is_worse_and_the_other_way_round_is_not() -> None:
    data = Data(ROWS)
    good, bad = data.model(), shuffled(data.model())

    assert compare(bad, data.live(good), data.train, data.held_out, data.items).worse
    assert not compare(good, data.live(bad), data.train, data.held_out, data.items).worse


def test_items_that_are_gone_or_new_change_places_but_not_the_comparison() -> None:
    data = Data(ROWS)
    moved = Data([(user, item + (5000 if item < 10 else 0), plays) for user, item, plays in ROWS if item != 105])

    verdict = compare(moved.model(), data.live(data.model()), moved.train, moved.held_out, moved.items)

    assert not verdict.worse
    assert verdict.live > 0.3


def test_what_the_live_model_saw_of_the_held_out_rows_does_not_help_it() -> None:
    data = Data(history(400, 6))
    candidate = data.model(seed=1, n_components=40)
    everything = NMFModel(40, 1, 100, n_threads=1).fit(data.matrix)

    honest = compare(candidate, replace(data.live(candidate), model=everything), data.train, data.held_out, data.items)

    assert honest.live == pytest.approx(honest.candidate, rel=0.1)


def test_a_listeners_ndcg_is_that_of_the_evaluation() -> None:
    rng = np.random.default_rng(3)
    relevant = sparse.csr_matrix((rng.random((30, 50)) < 0.2).astype(np.float32))
    relevant = relevant[np.diff(relevant.indptr) > 0]
    lists = [rng.permutation(50)[: rng.integers(0, 12)] for _ in range(relevant.shape[0])]
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
    top = TopK(indptr, np.concatenate(lists).astype(np.int32), np.zeros(indptr[-1], np.float32))

    values = ndcg_by_user(top, relevant, 10)

    expected = [
        EvaluationMetrics.ndcg_at_k(one.tolist(), relevant[row].indices.tolist(), 10) for row, one in enumerate(lists)
    ]
    assert values.tolist() == pytest.approx(expected)


def test_a_live_model_without_an_evaluation_is_compared_as_it_is() -> None:
    live = served_model(ROWS)
    data = Data(ROWS)

    assert live.evaluated is None
    assert compare(data.model(), live, data.train, data.held_out, data.items).n_users > 300
