"""What is reported beside the means: their standard errors, and how diverse the lists are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.judging.diversity import intra_list_diversity
from timbral.judging.ranking import Ranking
from timbral.utils.evaluation import EvaluationMetrics


def ranking(*lists: list[int]) -> Ranking:
    return Ranking(
        np.concatenate([[0], np.cumsum([len(one) for one in lists])]), np.array([i for one in lists for i in one], int)
    )


def test_the_error_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    held_out = sparse.csr_matrix((rng.random((60, 12)) < 0.3).astype(np.float32))
    held_out = held_out[np.diff(held_out.indptr) > 0]
    lists = [rng.permutation(12)[:4].tolist() for _ in range(held_out.shape[0])]
    judge = EvaluationMetrics()

    judged = judge.judged(ranking(*lists), held_out, 4)

    ndcg = [judge.ndcg_at_k(one, held_out[row].indices.tolist(), 4) for row, one in enumerate(lists)]
    assert judged.result()["ndcg@4"] == pytest.approx(np.mean(ndcg))
    assert judged.errors()["ndcg@4"] == pytest.approx(np.std(ndcg, ddof=1) / np.sqrt(len(ndcg)))


def test_diversity_is_how_little_the_items_of_a_list_share_their_users() -> None:
    # items 0 and 1 have the same users, 2 others; 3 shares one of two users with 0; nobody has 4
    train = sparse.csr_matrix(np.array([[1, 1, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], np.float32))

    assert intra_list_diversity(ranking([0, 1]), train) == pytest.approx(0)
    assert intra_list_diversity(ranking([0, 2]), train) == pytest.approx(1)
    assert intra_list_diversity(ranking([0, 3]), train) == pytest.approx(1 - 1 / 2)
    assert intra_list_diversity(ranking([0, 1, 2], [0, 4]), train) == pytest.approx(((1 - 1 / 3) + 1) / 2)
    assert intra_list_diversity(ranking([0], []), train) is None


def test_diversity_of_a_part_stands_for_all_where_it_would_be_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    train = sparse.csr_matrix(np.ones((10, 4), np.float32))
    monkeypatch.setattr("timbral.judging.diversity.MAX_WORK", 25)

    assert intra_list_diversity(ranking(*[[0, 1]] * 50), train) == pytest.approx(0)


def test_a_report_has_them_where_it_knows_who_has_what() -> None:
    held_out, train = sparse.identity(4, np.float32, "csr"), sparse.csr_matrix(np.ones((4, 4), np.float32))
    judge = EvaluationMetrics()

    found = judge.evaluate_ranking(np.tile([0, 1], (4, 1)), held_out, 2, train_csr=train)

    assert found["diversity@2"] == pytest.approx(0)
    assert "diversity@2" not in judge.evaluate_ranking(np.tile([0, 1], (4, 1)), held_out, 2)
