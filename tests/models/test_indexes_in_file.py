"""The indexes in a model's file: made once, mapped, the same lists; another model's are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from timbral.errors import ModelFileError
from timbral.models.file import model_file
from timbral.models.nmf_model import NMFModel
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.similarity_index import SimilarityIndex

N_USERS, N_ITEMS = 90, 700


def listening(seed: int) -> tuple[sparse.csr_matrix, Any]:
    rng = np.random.default_rng(seed)
    taste = np.kron(np.eye(3, dtype=np.float32), np.ones((N_USERS // 3, N_ITEMS // 3 + 1)))[:, :N_ITEMS]
    plays = sparse.csr_matrix((rng.random((N_USERS, N_ITEMS)) < 0.01 + 0.1 * taste).astype(np.float32))
    return plays, rng.integers(0, 10**6, plays.nnz)


def fitted(seed: int) -> NMFModel:
    """With neighbours and recency."""
    plays, times = listening(seed)
    options = {"regularization": 0.5, "neighbor_weight": 0.5, "neighbor_regularization": 1.0, "recency_weight": 0.1}
    return NMFModel(6, seed, 5, n_threads=1, **options).fit(plays, times=times)  # type: ignore[arg-type]  # each option has its own type


@pytest.fixture(scope="module")
def model() -> NMFModel:
    return fitted(0)


@pytest.fixture(scope="module")
def loaded(model: NMFModel, tmp_path_factory: pytest.TempPathFactory) -> NMFModel:
    path = tmp_path_factory.mktemp("models") / "model"
    model.save(path)
    return NMFModel(n_threads=1).load(path)


def brute_force(model: NMFModel, user: int, k: int, limits: dict[str, Any]) -> tuple[Any, Any]:
    """Over the whole score, as ``predict`` has it."""
    scores = model.predict(np.full(N_ITEMS, user), np.arange(N_ITEMS))
    left = np.ones(N_ITEMS, bool)
    left[listening(0)[0][user].indices] = False
    for name, keep in (("blocked", False), ("allowed", True)):
        if name in limits:
            mask = np.zeros(N_ITEMS, bool)
            mask[limits[name]] = True
            left &= mask if keep else ~mask
    items = np.flatnonzero(left)
    best = items[np.argsort(-scores[items], kind="stable")][:k]
    return best, scores[best]


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for name in ("blocked", "allowed"):
        share = draw(st.sampled_from([None, 0.0, 0.01, 0.5, 1.0]))
        if share is not None:
            mask = rng.random(N_ITEMS) < share
            found[name] = mask if draw(st.booleans()) else np.flatnonzero(mask)
    return found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, N_USERS - 1), st.sampled_from([1, 10, N_ITEMS]), filters())
def test_lists_from_the_file_and_from_the_fit_are_those_of_brute_force_whatever_is_filtered(
    model: NMFModel, loaded: NMFModel, user: int, k: int, limits: dict[str, Any]
) -> None:
    expected = brute_force(model, user, k, limits)

    for one in (model, loaded):
        found = one.recommend([user], top_k=k, **limits)
        np.testing.assert_array_equal(found.item_indices, expected[0])
        np.testing.assert_array_equal(found.scores, expected[1])  # bit for bit


def test_what_is_loaded_has_both_indexes_mapped_and_makes_none(
    model: NMFModel, loaded: NMFModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.item_index is None
    for kind in (ItemIndex, SimilarityIndex):
        monkeypatch.setattr(kind, "of", lambda *_: pytest.fail("it is in the file"))

    assert len(loaded.recommend(top_k=3)) == N_USERS
    for item in range(0, N_ITEMS, 50):
        for mine, theirs in zip(loaded.similar_items(item, 9), model.similar_items(item, 9), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert loaded.item_index is not None
    assert not loaded.item_index.codes.flags.owndata


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda mine, other: {n: v for n, v in mine.items() if n != "item_index.codes"}, "has no item_index.codes"),
        (lambda mine, other: mine | _part(other, "item_index."), "its item index is another model's"),
        (lambda mine, other: mine | {"similarity_index.codes": other["similarity_index.codes"]}, "another model's"),
    ],
)
def test_a_file_with_another_models_index_or_none_is_refused(
    model: NMFModel, tmp_path: Path, change: Callable[..., dict[str, Any]], text: str
) -> None:
    for name, one in (("mine", model), ("other", fitted(1))):
        one.save(tmp_path / name)
    (mine, texts), (other, _) = (model_file.read(tmp_path / name) for name in ("mine", "other"))
    model_file.write(tmp_path / "made", change(mine, other), texts)
    known = NMFModel(n_threads=1).load(tmp_path / "mine")

    with pytest.raises(ModelFileError, match=text):
        known.load(tmp_path / "made")

    assert len(known.recommend([0], top_k=3).item_indices) == 3


def _part(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if name.startswith(prefix)}
