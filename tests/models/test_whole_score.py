"""One score for everything: what is predicted, listed, served to new users and explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from timbral.errors import DataError, ParameterError
from timbral.models.nmf_model import NMFModel

N_USERS, N_ITEMS = 300, 120


def albums(seed: int = 0) -> sparse.csr_matrix:
    """Items come in pairs: who plays one plays the other, too, and little else is to be known."""
    rng = np.random.default_rng(seed)
    pairs = rng.random((N_USERS, N_ITEMS // 2)) < 0.15
    plays = np.repeat(pairs, 2, axis=1) & (rng.random((N_USERS, N_ITEMS)) < 0.9)
    return sparse.csr_matrix(plays * np.ceil(rng.lognormal(1, 1, plays.shape)).astype(np.float32))


@pytest.fixture(scope="module")
def plays() -> sparse.csr_matrix:
    return albums()


@pytest.fixture(scope="module")
def model(plays: sparse.csr_matrix) -> NMFModel:
    return NMFModel(8, 0, regularization=0.5, neighbor_weight=0.8, n_threads=1).fit(plays)


@pytest.fixture(scope="module")
def recent(plays: sparse.csr_matrix) -> NMFModel:
    """With a recency part, too."""
    times = np.random.default_rng(1).integers(0, 10**6, plays.nnz)
    options = {"regularization": 0.5, "neighbor_weight": 0.8, "recency_weight": 0.1}
    return NMFModel(8, 0, n_threads=1, **options).fit(plays, times=times)


@pytest.fixture(scope="module")
def counted(plays: sparse.csr_matrix) -> NMFModel:
    """Of which neighbours' plays count."""
    options = {"regularization": 0.5, "neighbor_weight": 0.8, "neighbor_play_exponent": 0.5}
    return NMFModel(8, 0, n_threads=1, **options).fit(plays)


@pytest.fixture(params=["model", "recent", "counted"])
def either(request: pytest.FixtureRequest) -> NMFModel:
    found: NMFModel = request.getfixturevalue(request.param)
    return found


def by_hand(model: NMFModel, plays: sparse.csr_matrix) -> np.ndarray:
    assert model.user_factors is not None
    assert model.item_factors is not None
    arrays = model.tensors()[0]
    pairs = sparse.csr_matrix(
        (arrays["neighbor_weights"], arrays["neighbor_items"], arrays["neighbor_indptr"]), shape=(N_ITEMS, N_ITEMS)
    )
    entries = (plays > 0).astype(np.float64)
    if exponent := model.get_params()["neighbor_play_exponent"]:
        entries = plays.astype(np.float64).power(exponent)
        squares = entries.power(2).sum(axis=1).A1 / np.diff(plays.indptr)
        entries = sparse.diags(squares**-0.5) @ entries
    spoken = entries @ pairs.astype(np.float64)
    return model.user_factors @ model.item_factors + spoken.toarray() + arrays["item_recency"]


def test_the_score_is_factors_and_neighbours_and_recency(either: NMFModel, plays: sparse.csr_matrix) -> None:
    users, items = (each.ravel() for each in np.indices(plays.shape))

    found = either.predict(users, items).reshape(plays.shape)

    np.testing.assert_allclose(found, by_hand(either, plays), rtol=1e-5)
    assert (either.tensors()[0]["neighbor_weights"] > 0).all()


def test_lists_have_the_scores_that_are_predicted_to_the_bit(either: NMFModel) -> None:
    top = either.recommend(top_k=N_ITEMS)

    owners = np.repeat(np.arange(N_USERS), np.diff(top.indptr))
    np.testing.assert_array_equal(top.scores, either.predict(owners, top.item_indices))
    assert all((np.diff(scores) <= 0).all() for _, scores in top)


def test_explanations_add_up_to_the_score(either: NMFModel, plays: sparse.csr_matrix) -> None:
    for user in range(30):
        item = int(either.get_top_recommendations(user, 1)[0][0])

        items, parts = either.explain(user, item, N_ITEMS)

        assert set(items.tolist()) <= set(plays[user].indices.tolist())
        assert parts.sum() == pytest.approx(either.predict([user], [item])[0], rel=1e-5)


def test_the_other_half_of_a_pair_is_explained_by_its_half(model: NMFModel, plays: sparse.csr_matrix) -> None:
    dense = plays.toarray() > 0
    halves = [
        (user, item) for user in range(N_USERS) for item in range(N_ITEMS) if dense[user, item ^ 1] > dense[user, item]
    ]

    strongest = [model.explain(user, item, 1)[0][0] == item ^ 1 for user, item in halves[:100]]

    assert np.mean(strongest) > 0.9


def test_who_is_known_by_plays_alone_gets_what_they_would_be_served(either: NMFModel, plays: sparse.csr_matrix) -> None:
    new = albums(7)[:70]

    by_plays = either.recommend(plays=new, top_k=7)

    for other in (
        either.recommend(plays=new.toarray(), top_k=7),
        either.recommend(plays=new, user_factors=either.fold_in(new), top_k=7),
        either.recommend(user_factors=either.fold_in(new), seen=new, top_k=7),
    ):
        np.testing.assert_array_equal(by_plays.item_indices, other.item_indices)
        np.testing.assert_array_equal(by_plays.scores, other.scores)
    one = either.recommend(plays=new[3:4], top_k=7)
    np.testing.assert_array_equal(one.item_indices, by_plays[3][0])
    assert not any(np.isin(items, new[row].indices).any() for row, (items, _) in enumerate(by_plays))


def test_plays_take_the_place_of_the_trainings(model: NMFModel, plays: sparse.csr_matrix) -> None:
    other = albums(3)[:2]

    changed = model.recommend([0, 1], plays=other, top_k=5)

    np.testing.assert_array_equal(changed.item_indices, model.recommend(plays=other, top_k=5).item_indices)
    with pytest.raises(ParameterError, match="user_ids and plays must be equally long, got 3 and 2"):
        model.recommend([0, 1, 2], plays=other)
    with pytest.raises(DataError, match="plays must have 120 columns"):
        model.recommend(plays=other[:, :7])


def test_a_user_without_a_play_gets_what_most_play_and_scores_nothing(plays: sparse.csr_matrix) -> None:
    rows = plays.toarray()
    rows[4] = 0
    times = np.arange(np.count_nonzero(rows))
    model = NMFModel(8, 0, 2, neighbor_weight=0.8, recency_weight=0.1).fit(sparse.csr_matrix(rows), times=times)

    top = model.recommend([3, 4, 5], top_k=5)

    popular = np.argsort(-np.count_nonzero(rows, axis=0), kind="stable")[:5]
    np.testing.assert_array_equal(top[1][0], popular)
    assert not top[1][1].any()
    assert top[0][1].all()
    assert not model.predict([4] * N_ITEMS, range(N_ITEMS)).any()
    nothing = sparse.csr_matrix((1, N_ITEMS), dtype=np.float32)
    np.testing.assert_array_equal(model.recommend(plays=nothing, top_k=5)[0][0], popular)


@pytest.mark.parametrize("options", [{"regularization": 0.0}, {"max_iter": 1}, {"tol": 1.0}])
def test_what_nobody_played_has_no_factors(plays: sparse.csr_matrix, options: dict[str, float]) -> None:
    rows = plays.toarray()
    rows[4], rows[:, 9] = 0, 0

    model = NMFModel(8, 0, **options).fit(rows)

    assert not model.get_user_embeddings([4]).any()
    assert not model.get_item_embeddings([9]).any()
    assert 9 not in model.similar_items(8, N_ITEMS)[0]


def test_a_file_keeps_the_whole_score_mapped(either: NMFModel, tmp_path: Path) -> None:
    either.save(tmp_path / "model")

    loaded = NMFModel().load(tmp_path / "model")

    np.testing.assert_array_equal(loaded.recommend(top_k=9).scores, either.recommend(top_k=9).scores)
    assert not loaded.tensors()[0]["neighbor_weights"].flags.writeable
    assert loaded.chosen_ == either.chosen_


def test_pairs_are_the_most_similar_items(model: NMFModel) -> None:
    first = [int(model.similar_items(item, 1)[0][0]) for item in range(N_ITEMS)]

    assert np.mean(np.asarray(first) == np.arange(N_ITEMS) ^ 1) > 0.95


def test_the_neighbour_part_is_chosen_where_it_gains_and_is_0_where_scores_are_values(plays: sparse.csr_matrix) -> None:
    many = sparse.vstack([albums(seed) for seed in range(4)]).tocsr()

    chosen = NMFModel(4, 0).fit(many).chosen_
    values = NMFModel(4, 0, target="log").fit(many)

    assert chosen["neighbor_weight"] > 0
    assert values.chosen_["neighbor_weight"] == 0
    assert len(values.tensors()[0]["neighbor_items"]) == 0
    assert NMFModel(4, 0, n_neighbors=0).fit(many).chosen_["neighbor_weight"] == 0


def test_recency_is_chosen_where_what_is_played_changes() -> None:
    rng = np.random.default_rng(0)
    n_users, n_items = 400, 200
    times = np.sort(rng.random(16_000))
    # Each item has its time: far from it hardly anybody plays it.
    peak = rng.random(n_items)
    chance = np.exp(-(((times[:, None] - peak) / 0.1) ** 2)) + 0.02
    items = (rng.random(len(times))[:, None] < np.cumsum(chance, axis=1) / chance.sum(axis=1)[:, None]).argmax(axis=1)
    users = rng.integers(0, n_users, len(times))
    _, first = np.unique(users * n_items + items, return_index=True)
    matrix = sparse.csr_matrix(
        (np.ones(len(first), np.float32), (users[first], items[first])), shape=(n_users, n_items)
    )
    when = sparse.csr_matrix((1 + first, (users[first], items[first])), shape=(n_users, n_items))
    matrix.sort_indices()
    when.sort_indices()

    drifting = NMFModel(4, 0).fit(matrix, times=when.data)
    still = NMFModel(4, 0).fit(matrix, times=rng.permutation(when.data))

    assert drifting.chosen_["recency_weight"] > 0
    assert still.chosen_["recency_weight"] < drifting.chosen_["recency_weight"]
    newest = np.mean(peak[np.concatenate([found for found, _ in drifting.recommend(top_k=5)])])
    assert newest > 0.8


@pytest.mark.parametrize(
    ("times", "problem"),
    [(np.arange(3), "ints, one for each entry"), (None, "ints, one for each entry"), ("dense", "need a CSR matrix")],
)
def test_times_that_are_not_those_of_the_entries_are_refused(
    plays: sparse.csr_matrix, times: object, problem: str
) -> None:
    given = {"none": np.arange(plays.nnz) + 0.5, "dense": np.arange(plays.nnz)}.get(str(times).lower(), times)

    with pytest.raises(DataError, match=problem):
        NMFModel(2).fit(plays.toarray() if isinstance(times, str) else plays, times=given)
