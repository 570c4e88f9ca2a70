from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from timbral.errors import DataError, ParameterError
from timbral.judging.popularity import popularity_ranking
from timbral.judging.ranking import Ranking
from timbral.utils.evaluation import EvaluationMetrics

metrics = EvaluationMetrics()
LIST = ["a", "b", "c", "d", "e"]


def log2(value: float) -> float:
    return math.log2(value)


def csr(rows: list[list[int]], n_items: int = 10) -> sparse.csr_matrix:
    dense = np.zeros((len(rows), n_items), dtype=np.float32)
    for user, items in enumerate(rows):
        dense[user, items] = 1
    return sparse.csr_matrix(dense)


# One list: hits at ranks 2 and 5 of five, four relevant
# ----------------------------------------------------------------

RELEVANT = {"b", "e", "x", "y"}


@pytest.mark.parametrize(
    ("metric", "k", "value"),
    [
        (metrics.precision_at_k, 5, 2 / 5),
        (metrics.precision_at_k, 10, 2 / 10),
        (metrics.recall_at_k, 5, 2 / 4),
        (metrics.recall_at_k, 4, 1 / 4),
        (metrics.recall_at_k, 1, 0.0),
        (metrics.ndcg_at_k, 5, (1 / log2(3) + 1 / log2(6)) / (1 + 1 / log2(3) + 1 / log2(4) + 1 / log2(5))),
        (metrics.ndcg_at_k, 2, (1 / log2(3)) / (1 + 1 / log2(3))),
        (metrics.average_precision_at_k, 5, (1 / 2 + 2 / 5) / 4),
        (metrics.average_precision_at_k, 2, (1 / 2) / 2),
        (metrics.reciprocal_rank, None, 1 / 2),
        (metrics.reciprocal_rank, 1, 0.0),
        (metrics.hit_at_k, 1, 0.0),
        (metrics.hit_at_k, 2, 1.0),
    ],
)
def test_a_list_is_worth_what_the_definition_says(metric: Any, k: int, value: float) -> None:
    assert metric(LIST, RELEVANT, k) == pytest.approx(value, abs=1e-12)


def test_a_perfect_list_is_worth_one_and_a_miss_nothing() -> None:
    for metric in (metrics.recall_at_k, metrics.ndcg_at_k, metrics.average_precision_at_k, metrics.hit_at_k):
        assert metric(LIST, ["a", "b", "c"], 5) == 1.0
        assert metric(LIST, ["z"], 5) == 0.0
    assert metrics.ndcg_at_k(LIST, [*LIST, "more", "held", "out"], 5) == pytest.approx(1.0)


def test_an_item_counts_once_however_often_it_is_recommended() -> None:
    assert metrics.recall_at_k(["a", "a", "a"], ["a", "b"], 3) == 0.5
    assert metrics.precision_at_k(["a", "a", "a"], ["a", "b"], 3) == pytest.approx(1 / 3)


def test_lists_are_averaged() -> None:
    lists, relevant = [["a", "b"], ["c", "d"], ["e"]], [["a"], ["d"], ["z"]]

    assert metrics.map_at_k(lists, relevant, 2) == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics.mrr(lists, relevant) == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics.mrr(lists, relevant, 1) == pytest.approx(1 / 3)
    assert metrics.hit_rate_at_k(lists, relevant, 2) == pytest.approx(2 / 3)


def test_coverage_is_the_share_of_the_catalogue() -> None:
    assert metrics.coverage([[1, 2], [2, 3]], 10) == 0.3


def test_novelty_is_how_surprising_an_item_is_in_bits() -> None:
    popularity = {"hit": 8, "rare": 1, "never": 0}

    assert metrics.novelty([["hit"]], popularity, 8) == 0.0
    assert metrics.novelty([["hit", "rare"], ["never"]], popularity, 8) == pytest.approx((0 + 3 + 3) / 3)


def test_errors_of_values() -> None:
    assert metrics.rmse([1, 2, 3], [1, 4, 7]) == pytest.approx(math.sqrt((0 + 4 + 16) / 3))
    assert metrics.mae([1, 2, 3], [1, 4, 1]) == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.recall_at_k(LIST, ["a"], 0),
        lambda: metrics.ndcg_at_k(LIST, ["a"], -1),
        lambda: metrics.precision_at_k(LIST, ["a"], 2.0),
        lambda: metrics.precision_at_k(LIST, ["a"], True),
        lambda: metrics.recall_at_k(LIST, [], 5),
        lambda: metrics.map_at_k([["a"]], [["a"], ["b"]], 5),
        lambda: metrics.mrr([], []),
        lambda: metrics.rmse([1, 2], [1]),
        lambda: metrics.mae([], []),
        lambda: metrics.coverage([["a"]], 0),
        lambda: metrics.novelty([["a"]], {"a": 1}, 0),
        lambda: metrics.novelty([[]], {}, 5),
        lambda: metrics.evaluate_ranking(np.zeros((1, 2), int), csr([[1]]), 0),
        lambda: metrics.evaluate_ranking(np.zeros((2, 2), int), csr([[1]]), 1),
        lambda: metrics.evaluate_ranking(np.full((1, 2), 10), csr([[1]]), 1),
        lambda: metrics.evaluate_ranking(np.zeros((1, 2)), csr([[1]]), 1),
        lambda: metrics.evaluate_ranking(np.zeros((1, 2), int), csr([[1]]), 1, train_csr=csr([[1], [2]])),
        lambda: metrics.evaluate_ranking(np.zeros((1, 2), int), csr([[1]]), 1, user_ids=np.array([7])),
        lambda: popularity_ranking(csr([[1]]), 0),
    ],
)
def test_wrong_arguments_are_refused(call: Any) -> None:
    with pytest.raises(ParameterError):
        call()


def test_nothing_held_out_is_refused() -> None:
    with pytest.raises(DataError, match="held out"):
        metrics.evaluate_ranking(np.zeros((1, 2), int), csr([[]]), 1)


# Many lists at once
# ----------------------------------------------------------------------------------------------------

ITEMS = st.lists(st.integers(0, 9), max_size=8)


@given(st.lists(st.tuples(ITEMS, ITEMS), min_size=1, max_size=8), st.integers(1, 10))
def test_all_lists_at_once_are_worth_the_mean_of_each_alone(users: list[tuple[list[int], list[int]]], k: int) -> None:
    lists, relevant = [one for one, _ in users], [set(held) for _, held in users]
    judged = [(one, held) for one, held in zip(lists, relevant, strict=True) if held]
    held_out = csr([sorted(held) for held in relevant])
    ranking = Ranking(
        np.concatenate([[0], np.cumsum([len(one) for one in lists])]), np.array([i for one in lists for i in one], int)
    )
    if not judged:
        return

    values = metrics.evaluate_ranking(ranking, held_out, k)

    def mean(metric: Any) -> float:
        return sum(metric(one, held, k) for one, held in judged) / len(judged)

    assert values[f"recall@{k}"] == pytest.approx(mean(metrics.recall_at_k))
    assert values[f"ndcg@{k}"] == pytest.approx(mean(metrics.ndcg_at_k))
    assert values[f"precision@{k}"] == pytest.approx(mean(metrics.precision_at_k))
    assert values[f"map@{k}"] == pytest.approx(mean(metrics.average_precision_at_k))
    assert values[f"mrr@{k}"] == pytest.approx(mean(metrics.reciprocal_rank))
    assert values[f"hit_rate@{k}"] == pytest.approx(mean(metrics.hit_at_k))
    assert values[f"coverage@{k}"] == metrics.coverage([one[:k] for one, _ in judged], 10)
    assert values["n_users"] == len(judged)
    assert "novelty" not in str(values)


class Parrot:
    """A model that recommends the same to everybody, and notes who it was asked for."""

    def __init__(self, items: list[int]) -> None:
        self.items = items
        self.asked: list[int] = []

    def recommend(self, user_ids: Any, top_k: int, exclude_seen: bool) -> SimpleNamespace:
        assert exclude_seen
        self.asked += list(user_ids)
        items = self.items[:top_k]
        return SimpleNamespace(
            indptr=np.arange(len(user_ids) + 1) * len(items),
            item_indices=np.tile(items, len(user_ids)).astype(np.int32),
        )


def test_a_model_ranks_everybody_who_has_something_held_out() -> None:
    held_out, train = csr([[3], [], [4, 5], [9]]), csr([[1], [2], [3], [3]])
    model, seen = Parrot([3, 4]), []

    values = metrics.evaluate(model, held_out, train, k=2, on_progress=lambda done, of: seen.append((done, of)))

    assert model.asked == [0, 2, 3]
    assert values["recall@2"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert values["hit_rate@2"] == pytest.approx(2 / 3)
    assert values["novelty@2"] == pytest.approx((1 + 2) / 2)  # two of four know item 3; nobody knows 4, as if one did
    assert values["n_users"] == 3
    assert seen == [(3, 3)]


def test_blocks_of_users_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out, train = csr([[user % 7] for user in range(50)]), csr([[7]] * 50)
    whole = metrics.evaluate(Parrot([1, 2, 3]), held_out, train, k=3)

    monkeypatch.setattr("timbral.utils.evaluation.USERS_PER_BLOCK", 7)
    monkeypatch.setattr("timbral.judging.metrics.LISTS_PER_BLOCK", 3)

    assert metrics.evaluate(Parrot([1, 2, 3]), held_out, train, k=3) == pytest.approx(whole)


def test_a_table_of_items_ends_its_lists_with_a_negative_item() -> None:
    held_out = csr([[1], [2]])

    table = metrics.evaluate_ranking(np.array([[0, 1], [2, -1]]), held_out, 2)
    lists = metrics.evaluate_ranking(Ranking(np.array([0, 2, 3]), np.array([0, 1, 2])), held_out, 2)

    assert table == lists
    assert table["mrr@2"] == 0.75


def test_lists_may_belong_to_some_users_only() -> None:
    held_out = csr([[1], [2], []])

    values = metrics.evaluate_ranking(np.array([[2], [0]]), held_out, 1, user_ids=np.array([1, 2]))

    assert values["recall@1"] == 1.0
    assert values["n_users"] == 1


def test_popularity_ranks_by_users_and_leaves_out_what_they_have() -> None:
    train = csr([[0, 1], [0, 1, 2], [0], [0, 3, 1]], n_items=5)  # users: 4, 3, 1, 1, 0
    train.data *= np.arange(1, len(train.data) + 1)  # play counts do not matter

    ranking = popularity_ranking(train, 2)

    lists = [ranking.item_indices[a:b].tolist() for a, b in zip(ranking.indptr, ranking.indptr[1:], strict=False)]
    assert lists == [[2, 3], [3, 4], [1, 2], [2, 4]]
    some = popularity_ranking(train, 10, np.array([2]))
    assert some.item_indices.tolist() == [1, 2, 3, 4]


def test_popularity_in_small_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    train = sparse.random(200, 40, 0.2, format="csr", rng=rng)
    whole = popularity_ranking(train, 5)

    monkeypatch.setattr("timbral.judging.popularity.POSITIONS_PER_BLOCK", 100)

    blocks = popularity_ranking(train, 5)
    assert blocks.item_indices.tolist() == whole.item_indices.tolist()
    assert blocks.indptr.tolist() == whole.indptr.tolist()
    seen = set(zip(*train.nonzero(), strict=True))
    owners = np.repeat(np.arange(200), np.diff(whole.indptr))
    assert not seen & set(zip(owners, whole.item_indices, strict=True))
