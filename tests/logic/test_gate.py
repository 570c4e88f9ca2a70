"""The gate: worse means measurably worse, on the same held-out rows, for a model that has not seen them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from taste import history

from timbral.data.id_index import IdIndex
from timbral.data.interactions import Interactions
from timbral.judging.hold_out import hold_out_by_id
from timbral.logic.gate import compare, incomparable
from timbral.models.nmf_model import NMFModel
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

    assert verdict.outcome == "not worse"
    assert verdict.n_users > 350
    assert verdict.candidate == pytest.approx(verdict.live, rel=0.1)
    assert "not worse: NDCG@20" in str(verdict)


def test_a_model_as_good_as_chance_is_worse_and_the_other_way_round_is_not() -> None:
    data = Data(ROWS)
    good, bad = data.model(), shuffled(data.model())

    assert compare(bad, data.live(good), data.train, data.held_out, data.items).outcome == "worse"
    assert compare(good, data.live(bad), data.train, data.held_out, data.items).outcome == "not worse"


def test_items_that_are_gone_or_new_change_places_but_not_the_comparison() -> None:
    data = Data(ROWS)
    moved = Data([(user, item + (5000 if item < 10 else 0), plays) for user, item, plays in ROWS if item != 105])

    verdict = compare(moved.model(), data.live(data.model()), moved.train, moved.held_out, moved.items)

    assert verdict.outcome == "not worse"
    assert verdict.live > 0.3


def test_what_the_live_model_saw_of_the_held_out_rows_does_not_help_it() -> None:
    data = Data(history(400, 6))
    candidate = data.model(seed=1, n_components=40)
    everything = NMFModel(40, 1, 100, n_threads=1).fit(data.matrix)

    honest = compare(candidate, replace(data.live(candidate), model=everything), data.train, data.held_out, data.items)

    assert honest.live == pytest.approx(honest.candidate, rel=0.1)


def loaded(data: Data) -> Interactions:
    return Interactions(data.matrix, data.users, data.items, None, data.matrix.nnz)


def live_of(data: Data, record: dict[str, Any] | None = None) -> ServedModel:
    given = {"split": {"by": "ids", "share": 0.3}, "metrics": {"n_users": 390}} if record is None else record
    return replace(data.live(data.model()), record=given, model=NMFModel(4, 0, 3, n_threads=1).fit(data.matrix))


def test_data_of_the_same_kind_and_size_can_be_compared() -> None:
    data = Data(ROWS)

    assert incomparable(loaded(data), live_of(data)) is None
    assert incomparable(loaded(Data(history(250))), live_of(data)) is None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:3], "3 rows are far fewer than its 4,000"),
        (ROWS[:1500], "1,500 rows are far fewer"),
        ([(user % 100, item, plays) for user, item, plays in ROWS if user % 3], "far fewer"),
        (
            [(str(user), item, plays) for user, item, plays in ROWS],
            "the users' ids are text, the live model's are numbers",
        ),
        (
            [(user, str(item), plays) for user, item, plays in ROWS],
            "the items' ids are text, the live model's are numbers",
        ),
        ([(user, item + 10_000, plays) for user, item, plays in ROWS], "only 0 of its"),
    ],
)
def test_broken_data_are_not_compared_and_the_reason_says_what_is_wrong(rows: list[Any], reason: str) -> None:
    verdict = incomparable(loaded(Data(rows)), live_of(Data(ROWS)))

    assert verdict is not None
    assert reason in verdict.reason
    assert "promote='always' overrules" in verdict.reason
    assert not verdict.promotes


def test_too_few_users_to_judge_by_are_no_comparison() -> None:
    data = Data(ROWS)
    live = live_of(data)
    few = data.held_out.copy()
    few.data[few.indptr[20] :] = 0
    few.eliminate_zeros()

    verdict = compare(data.model(), live, data.train, few, data.items)

    assert verdict.outcome == "not compared"
    assert "only 20 users" in verdict.reason


def test_pairs_that_are_shuffled_are_noticed_by_what_the_live_model_makes_of_them() -> None:
    # given: a live model with its quality, and the same users and items, each row with another's item
    data = Data(ROWS)
    live = live_of(data)
    known = compare(data.model(), live, data.train, data.held_out, data.items)
    live = replace(live, record=live.record | {"metrics": {"n_users": 390, "ndcg@20": known.live}})
    order = np.random.default_rng(0).permutation(len(ROWS))
    pairs = {(user, ROWS[place][1]): plays for (user, _, plays), place in zip(ROWS, order, strict=True)}
    shuffled_data = Data([(user, item, plays) for (user, item), plays in pairs.items()])

    # when
    verdict = compare(shuffled_data.model(), live, shuffled_data.train, shuffled_data.held_out, shuffled_data.items)

    # then
    assert verdict.outcome == "not compared"
    assert "little in common" in verdict.reason


def test_a_live_model_that_has_seen_all_of_its_rows_is_not_compared() -> None:
    data = Data(ROWS)

    verdict = incomparable(loaded(data), live_of(data, {"split": None}))

    assert verdict is not None
    assert "holdout 0" in verdict.reason
