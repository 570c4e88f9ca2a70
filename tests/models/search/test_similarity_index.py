"""Similar items from the index: the lists of the definition, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from timbral.errors import DataError
from timbral.models import similarity
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.similarity_index import SimilarityIndex
from timbral.models.similarity import doubt_of, mean_direction, most_similar

Array = np.ndarray
WEIGHT = 0.7
NOISE = 1e-10


def neighbors_of(rng: np.random.Generator, n_items: int, density: float) -> Neighbors:
    pairs = sparse.random(n_items, n_items, density, "csr", np.float32, rng)
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    pairs.sort_indices()
    return Neighbors(pairs.indptr.astype(np.int64), pairs.indices.astype(np.int32), pairs.data)


def brute_force(vectors: Array, neighbors: Neighbors, which: int, k: int) -> tuple[Array, Array]:
    """The definition: every score, in float64 in the order of the components, then a stable sort."""
    mean = mean_direction(vectors).astype(np.float64)
    doubt = doubt_of(mean_direction(vectors))
    squares, lengths = np.zeros(len(vectors)), np.zeros(len(vectors))
    for column in vectors.T.astype(np.float64):
        squares += column * column
    own = np.zeros(vectors.shape)
    filled = squares > 0
    own[filled] = (1.0 / np.sqrt(squares[filled]))[:, None] * vectors[filled].astype(np.float64) - mean
    for column in own.T:
        lengths += column * column
    own[lengths <= NOISE] = 0
    own[lengths > NOISE] /= np.sqrt(lengths[lengths > NOISE] + doubt)[:, None]
    totals = np.zeros(len(vectors))
    for column in range(vectors.shape[1]):
        totals += own[which, column] * own[:, column]
    said = sparse.csr_matrix((neighbors.weights.astype(np.float64), neighbors.items, neighbors.indptr), (len(own),) * 2)
    both = (said[which].toarray()[0] + said[:, [which]].toarray()[:, 0]) / (2.0 * WEIGHT)
    totals = np.maximum(totals, 0.0)
    scores = (totals + both / (1.0 + both) * (1.0 - totals)).astype(np.float32)
    scores[which] = 0
    best = np.argsort(-scores, kind="stable")[: min(k, int((scores > 0).sum()))]
    return best, scores[best]


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[Array, Neighbors, int, int]:
    """From few values, so that ties and items without anything are common; or as a factorisation gives them."""
    n_items, k = draw(st.integers(1, 300)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = draw(st.sampled_from([[0, 1], [0, 1, 2], [0, 0.1, 0.7], [0, 1e-18, 1e18], [1, 1.0001], None]))
    vectors = (
        0.5 + 0.1 * rng.random((n_items, k)) ** 4 * rng.random((n_items, 1))
        if values is None
        else rng.choice(values, (n_items, k))
    )
    neighbors = neighbors_of(rng, n_items, draw(st.sampled_from([0, 0.02, 0.5])))
    return vectors.astype(np.float32), neighbors, draw(st.integers(0, n_items - 1)), draw(st.integers(1, n_items + 2))


@pytest.mark.parametrize("n_threads", [1, 3])
@given(catalogues())
def test_similar_items_are_those_of_brute_force_with_the_index_and_without(
    n_threads: int, catalogue: tuple[Array, Neighbors, int, int]
) -> None:
    vectors, neighbors, which, k = catalogue
    index = SimilarityIndex.of(vectors, neighbors)
    together = index.together(neighbors, which, WEIGHT)

    expected = brute_force(vectors, neighbors, which, k)
    looked = most_similar(vectors, index.mean, neighbors.likeness(which, WEIGHT), which, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "LEAST_BLOCKS", 1)
        found = most_similar(vectors, index.mean, together, which, k, index.blocks, n_threads)

    for items, scores in (looked, found):
        np.testing.assert_array_equal(items, expected[0])
        np.testing.assert_array_equal(scores, expected[1])  # bit for bit


def test_the_index_has_what_it_needs_for_what_neighbours_say() -> None:
    rng = np.random.default_rng(0)
    neighbors = neighbors_of(rng, 60, 0.2)
    index = SimilarityIndex.of(rng.random((60, 5), dtype=np.float32), neighbors)

    for item in range(60):
        for mine, theirs in zip(index.together(neighbors, item, 0.3), neighbors.likeness(item, 0.3), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_only_what_its_codes_let_be_among_the_best_is_looked_at_closely() -> None:
    rng = np.random.default_rng(1)
    vectors = (0.5 + rng.random((4000, 32)) ** 3).astype(np.float32)
    index = SimilarityIndex.of(vectors, Neighbors.none(4000))
    expected = most_similar(vectors, index.mean, Neighbors.none(4000).likeness(7, 1.0), 7, 10)
    # Items that are far from the best now have vectors that would win, if anybody looked: only their codes are as ever.
    alike = most_similar(vectors, index.mean, Neighbors.none(4000).likeness(7, 1.0), 7, 4000)[0]
    hopeless = np.setdiff1d(index.item_of[1000:4000], [*alike[: len(alike) // 2], 7])
    poisoned = vectors.copy()
    poisoned[hopeless] = vectors[7]

    found = most_similar(poisoned, index.mean, Neighbors.none(4000).likeness(7, 1.0), 7, 10, index.blocks)

    assert len(hopeless) > 2000
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_whose_fine_codes_tell_that_it_is_not_alike_is_not_looked_at() -> None:
    rng = np.random.default_rng(1)
    vectors = (0.5 + rng.random((4000, 32)) ** 3).astype(np.float32)
    index, nobody = SimilarityIndex.of(vectors, Neighbors.none(4000)), Neighbors.none(4000).likeness(7, 1.0)
    best = most_similar(vectors, index.mean, nobody, 7, 11)[0]
    place = np.flatnonzero(index.item_of == best[0])
    fine_codes = index.fine_codes.copy()
    fine_codes[place] = 255 - fine_codes[place]  # the opposite direction
    fine_codes.flags.writeable = False

    found = most_similar(vectors, index.mean, nobody, 7, 10, replace(index, fine_codes=fine_codes).blocks)[0]

    np.testing.assert_array_equal(found, best[1:])


def vectors_of(seed: int = 2) -> Array:
    return (0.5 + np.random.default_rng(seed).random((100, 6))).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda i: replace(i, item_of=np.roll(i.item_of[:100], 1)), "item_of is int32 of"),
        (lambda i: replace(i, item_of=np.zeros_like(i.item_of)), "does not fit its items"),
        (lambda i: replace(i, item_of=np.where(i.item_of == 7, 8, i.item_of)), "not each item once"),
        (lambda i: replace(i, item_of=np.concatenate([i.item_of[:100][::-1], i.item_of[100:]])), "another model's"),
        (lambda i: replace(i, errors=np.zeros_like(i.errors)), "another model's"),
        (lambda i: replace(i, fine_errors=np.zeros_like(i.fine_errors)), "another model's"),
        (lambda i: replace(i, fine_codes=i.fine_codes[::-1].copy()), "another model's"),
        (lambda i: replace(i, fine_codes=i.fine_codes[:-1]), "fine_codes is uint8 of"),
        (lambda i: replace(i, scales=i.scales.astype(np.float64)), "scales is float64"),
        (lambda i: replace(i, sources=np.full_like(i.sources, 100)), "does not fit its neighbours"),
        (lambda i: replace(i, source_indptr=i.source_indptr[::-1].copy()), "does not fit its neighbours"),
    ],
)
def test_an_index_that_is_not_of_these_items_is_refused(change: Any, text: str) -> None:
    vectors, neighbors = vectors_of(), neighbors_of(np.random.default_rng(3), 100, 0.1)
    tensors = change(SimilarityIndex.of(vectors, neighbors)).tensors("x.")

    with pytest.raises(DataError, match=text):
        SimilarityIndex.from_tensors(tensors, "x.", vectors, len(neighbors.items))


def test_another_models_index_is_refused() -> None:
    neighbors = neighbors_of(np.random.default_rng(3), 100, 0.1)
    tensors = SimilarityIndex.of(vectors_of(9), neighbors).tensors("x.")

    with pytest.raises(DataError, match="another model's"):
        SimilarityIndex.from_tensors(tensors, "x.", vectors_of(), len(neighbors.items))
