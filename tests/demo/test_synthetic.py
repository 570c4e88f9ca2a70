from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from timbral.demo.synthetic import make_listening_history
from timbral.errors import ParameterError
from timbral.judging.hold_out import hold_out
from timbral.judging.popularity import popularity_ranking
from timbral.utils.data_loader import DataLoader
from timbral.utils.evaluation import EvaluationMetrics


def test_a_history_looks_like_listening() -> None:
    history = make_listening_history()

    assert len(history.user_genres) == 3_000
    assert 100_000 < len(history) < 400_000
    assert len(set(history.artist_names)) == 2_000
    assert len(set(history.artist_genres)) == 12
    pairs = history.user_ids * 2_000 + history.item_ids
    assert len(np.unique(pairs)) == len(pairs)
    assert history.plays.min() == 1
    assert history.plays.max() > 50 * np.median(history.plays)
    users = np.sort(np.bincount(history.item_ids, minlength=2_000))[::-1]
    assert users[:200].sum() > 3 * users[-1_000:].sum()


def test_users_play_what_they_like() -> None:
    history = make_listening_history(n_users=300, n_items=500)
    genre = np.array(history.artist_genres)[history.item_ids]

    liked = [one in history.user_genres[user] for user, one in zip(history.user_ids, genre, strict=True)]

    assert np.mean(liked) > 0.6


def test_the_same_seed_makes_the_same_history() -> None:
    first, again, other = (make_listening_history(200, 300, random_state=seed) for seed in (0, 0, 1))

    assert first.item_ids.tolist() == again.item_ids.tolist()
    assert first.plays.tolist() == again.plays.tolist()
    assert first.artist_names == again.artist_names
    assert first.item_ids.tolist() != other.item_ids.tolist()


def test_a_history_can_be_written_and_read(tmp_path: Path) -> None:
    history = make_listening_history(50, 60, 4)

    history.write_csv(tmp_path / "plays.csv")

    read = DataLoader().load_csr(tmp_path / "plays.csv", value_col="plays")
    assert read.n_rows == len(history)
    assert read.matrix.sum() == history.plays.sum()


def test_popularity_is_a_baseline_that_knowing_the_genres_beats_by_far() -> None:
    history = make_listening_history(1_000, 800)
    rows = np.zeros((1_000, 800), dtype=np.float32)
    rows[history.user_ids, history.item_ids] = history.plays

    train, held_out = hold_out(sparse.csr_matrix(rows), 0.2, 0)
    popularity = EvaluationMetrics().evaluate_ranking(popularity_ranking(train, 20), held_out, 20)
    genres = np.array(history.artist_genres)
    likes = np.array([[genre in liked for genre in genres] for liked in history.user_genres])
    score = np.where(train.toarray() > 0, -1, likes * 10_000 + np.diff(train.tocsc().indptr))
    informed = EvaluationMetrics().evaluate_ranking(np.argsort(-score, axis=1)[:, :20], held_out, 20)

    assert popularity["recall@20"] > 0.05
    assert informed["recall@20"] > 1.8 * popularity["recall@20"]


def test_few_users_and_artists_make_a_small_history() -> None:
    assert len(make_listening_history(1, 1, 1)) == 1
    assert len(make_listening_history(5, 12, 12)) >= 5
    assert len(set(make_listening_history(1, 6_000).artist_names)) == 6_000


@pytest.mark.parametrize("arguments", [{"n_users": 0}, {"n_items": 3}, {"n_genres": 19}, {"artists_per_user": 0}])
def test_impossible_histories_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ParameterError, match="must be"):
        make_listening_history(**arguments)
