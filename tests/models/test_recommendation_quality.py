"""Quality floors on made-up data whose structure is known, so that no change makes the recommender worse unseen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.models.fitting.choice import DEFAULT_REGULARIZATION
from timbral.models.nmf_model import NMFModel

N_GENRES = 12


def listening(seed: int = 0, n_users: int = 700, n_items: int = 900, plays_each: int = 30) -> sparse.csr_matrix:
    """Each user likes three genres; within a genre, the r-th artist is played in proportion to 1 / (r + 5)."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, N_GENRES, n_items)
    appeal = 1.0 / (rng.permutation(n_items) + 30)
    rows, columns = [], []
    for user in range(n_users):
        liked = rng.choice(N_GENRES, 3, replace=False)
        chance = appeal * np.where(np.isin(genre, liked), 1.0, 0.03)
        columns.append(rng.choice(n_items, plays_each, replace=False, p=chance / chance.sum()))
        rows.append(np.full(plays_each, user))
    values = np.ceil(rng.lognormal(3, 1.5, n_users * plays_each)).astype(np.float32)
    return sparse.csr_matrix((values, (np.concatenate(rows), np.concatenate(columns))), shape=(n_users, n_items))


def split(matrix: sparse.csr_matrix, seed: int = 0) -> tuple[sparse.csr_matrix, list[np.ndarray]]:
    """A fifth of each user's rows held out."""
    rng = np.random.default_rng(seed)
    train = matrix.copy()
    held = []
    for user in range(matrix.shape[0]):
        own = np.arange(matrix.indptr[user], matrix.indptr[user + 1])
        hidden = rng.choice(own, len(own) // 5, replace=False)
        held.append(matrix.indices[hidden])
        train.data[hidden] = 0
    train.eliminate_zeros()
    return train, held


def recall(lists: list[np.ndarray], held: list[np.ndarray]) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(lists, held, strict=True)]))


@pytest.fixture(scope="module")
def parts() -> tuple[sparse.csr_matrix, list[np.ndarray]]:
    return split(listening())


def of_model(model: NMFModel) -> list[np.ndarray]:
    return [items for items, _ in model.recommend(top_k=20)]


def test_defaults_find_genres_under_the_popular(parts: tuple[sparse.csr_matrix, list[np.ndarray]]) -> None:
    train, held = parts
    popular = np.argsort(-np.bincount(train.indices, minlength=train.shape[1]))
    by_popularity = [popular[:200][~np.isin(popular[:200], row.indices)][:20] for row in train]

    ours = recall(of_model(NMFModel().fit(train)), held)

    assert ours > 1.6 * recall(by_popularity, held)
    assert ours > 0.29


def test_defaults_beat_the_classic_objective_by_far(parts: tuple[sparse.csr_matrix, list[np.ndarray]]) -> None:
    train, held = parts
    classic = NMFModel(30, max_iter=60, unobserved_weight=1, confidence=0, regularization=0).fit(train.log1p())

    assert recall(of_model(NMFModel(30).fit(train)), held) > 1.15 * recall(of_model(classic), held)


def test_a_target_above_0_for_what_was_not_observed_lets_few_factors_tell_more() -> None:
    """Tastes on a ring: three signed factors hold it (1, cos, sin), but as many that can only add hold three of its
    arcs."""
    rng = np.random.default_rng(0)
    taste, kind = rng.uniform(0, 2 * np.pi, 400), rng.uniform(0, 2 * np.pi, 300)
    plays = rng.random((400, 300)) < 0.4 * np.exp(8 * (np.cos(taste[:, None] - kind) - 1))
    train, held = split(sparse.csr_matrix(plays.astype(np.float32)))

    above, zero = (
        max(
            recall(of_model(NMFModel(3, unobserved_target=mu, regularization=kappa, n_neighbors=0).fit(train)), held)
            for kappa in (0.1, 0.3)
        )
        for mu in (None, 0.0)
    )

    assert above > 1.3 * zero


def test_the_scale_of_the_values_does_not_matter(parts: tuple[sparse.csr_matrix, list[np.ndarray]]) -> None:
    train, held = parts
    base = recall(of_model(NMFModel(40).fit(train)), held)

    for other in (train.power(2), (train > 0).astype(np.float32), train * 1e-3):
        assert recall(of_model(NMFModel(40).fit(other)), held) > 0.92 * base


def test_fold_in_recommends_as_well_as_the_training(parts: tuple[sparse.csr_matrix, list[np.ndarray]]) -> None:
    train, held = parts
    model = NMFModel(40).fit(train[100:])

    new = model.recommend(user_factors=model.fold_in(train[:100]), seen=train[:100], top_k=20)

    trained = recall(of_model(model), held[100:])
    assert recall([items for items, _ in new], held[:100]) > 0.9 * trained


def test_the_regularization_chosen_is_about_the_best(parts: tuple[sparse.csr_matrix, list[np.ndarray]]) -> None:
    train, held = parts
    fitted = NMFModel(40, n_neighbors=0).fit(train)

    fixed = {
        kappa: recall(of_model(NMFModel(40, n_neighbors=0, regularization=kappa).fit(train)), held)
        for kappa in (0.1, 0.5, 2.0)
    }

    assert recall(of_model(fitted), held) > 0.97 * max(fixed.values())
    assert 0.2 < fitted.regularization_ < 1.2
    assert max(fixed, key=fixed.__getitem__) == 0.5


def test_too_few_data_take_the_default_regularization() -> None:
    model = NMFModel(4).fit(np.eye(6) + 1)

    assert model.regularization_ == DEFAULT_REGULARIZATION
    assert NMFModel(4, regularization=0.1).fit(np.eye(6) + 1).regularization_ == 0.1
