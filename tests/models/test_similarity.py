"""Which items are alike, where all of them share a part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from timbral.models.nmf_model import NMFModel
from timbral.models.similarity import mean_direction, most_similar

N_GENRES, ITEMS_EACH = 4, 10


def vectors(own: float = 1.0, shared: float = 5.0, noise: float = 0.1, seed: int = 0) -> npt.NDArray[np.float32]:
    """Item i is of genre i // ITEMS_EACH: its own part, beside a part that all share, times a popularity of its own."""
    rng = np.random.default_rng(seed)
    genres = np.repeat(np.eye(N_GENRES, 2 * N_GENRES), ITEMS_EACH, axis=0)
    made = (shared + own * genres + noise * rng.random(genres.shape)) * rng.uniform(0.2, 3.0, (len(genres), 1))
    return np.asarray(made, dtype=np.float32)


def similar(items: npt.NDArray[np.float32], which: int, top_k: int) -> tuple[list[int], npt.NDArray[np.float32]]:
    nothing = np.empty(0, np.int32), np.empty(0)
    found, scores = most_similar(items, mean_direction(items), nothing, which, top_k)
    return found.tolist(), scores


def listening(n_users: int = 300, seed: int = 0) -> sparse.csr_matrix:
    """Each user plays 8 of the 10 items of one genre, and 3 of any."""
    rng = np.random.default_rng(seed)
    plays = np.zeros((n_users, N_GENRES * ITEMS_EACH), dtype=np.float32)
    for user in range(n_users):
        genre = rng.integers(N_GENRES)
        plays[user, genre * ITEMS_EACH + rng.permutation(ITEMS_EACH)[:8]] = rng.integers(1, 30, 8)
        plays[user, rng.integers(plays.shape[1], size=3)] += 1
    return sparse.csr_matrix(plays)


def test_what_all_items_share_makes_none_alike() -> None:
    items = vectors()

    for which in (0, 13, 39):
        found, scores = similar(items, which, len(items))

        genre = set(range(which // ITEMS_EACH * ITEMS_EACH, which // ITEMS_EACH * ITEMS_EACH + ITEMS_EACH))
        assert set(found) == genre - {which}
        assert (scores > 0.6).all()
        assert (scores < 1).all()


@pytest.mark.parametrize("n_components", [4, 16])
def test_a_models_neighbours_are_of_the_same_genre_and_no_other(n_components: int) -> None:
    model = NMFModel(n_components, 1, n_threads=1).fit(listening())

    for item in range(model.n_items):
        found, scores = model.similar_items(item, model.n_items)

        same = found // ITEMS_EACH == item // ITEMS_EACH
        assert same[: ITEMS_EACH - 1].all()
        assert scores[: ITEMS_EACH - 1].min() > 0.5
        assert scores[ITEMS_EACH - 1 :].max(initial=0) < 0.3


def test_is_the_cosine_of_own_parts_less_where_they_are_short() -> None:
    items = np.random.default_rng(3).random((30, 6), dtype=np.float32)
    units = items / np.linalg.norm(items, axis=1, keepdims=True)
    own = units - units.mean(axis=0)
    lengths = np.linalg.norm(own, axis=1)
    cosines = (own @ own[7]) / (lengths * lengths[7])
    certain = lengths / np.sqrt(lengths**2 + np.mean(lengths**2) / 4)
    wanted = cosines * certain * certain[7]

    found, scores = similar(items, 7, 30)

    assert 7 not in found
    assert len(found) == (wanted > 0).sum() - 1
    np.testing.assert_allclose(scores, wanted[found], rtol=1e-4, atol=1e-6)
    assert (np.diff(scores) <= 0).all()


def test_is_the_same_both_ways() -> None:
    items = np.random.default_rng(4).random((12, 5), dtype=np.float32)
    table = np.zeros((12, 12))
    for which in range(12):
        found, scores = similar(items, which, 12)
        table[which, found] = scores

    np.testing.assert_allclose(table, table.T, rtol=1e-4, atol=1e-6)


def test_of_two_in_one_direction_the_one_that_says_less_of_itself_is_less_alike() -> None:
    items = vectors(noise=0.0)
    items[1] = 5.0 + 0.2 * np.eye(2 * N_GENRES)[0]

    found, scores = similar(items, 0, 9)

    assert found[-1] == 1
    assert scores[-1] < 0.7 * scores[0]


def test_equal_scores_come_by_index_and_no_more_than_asked_for() -> None:
    items = np.repeat(vectors(noise=0.0)[::ITEMS_EACH], ITEMS_EACH, axis=0)

    found, scores = similar(items, 25, 3)

    assert found == [20, 21, 22]
    assert len(set(scores.tolist())) == 1


def test_items_that_nobody_played_or_that_are_all_the_same_are_like_none() -> None:
    items = vectors()
    items[[3, 4]] = 0

    assert similar(items, 3, 5)[0] == []
    assert not {3, 4} & set(similar(items, 5, 40)[0])
    assert similar(np.full((6, 3), 0.1, dtype=np.float32), 0, 5)[0] == []
    assert similar(np.zeros((6, 3), dtype=np.float32), 0, 5)[0] == []
