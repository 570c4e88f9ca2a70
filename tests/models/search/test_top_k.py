from __future__ import annotations

import multiprocessing
import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from brute_force_lists import Array, assert_same, brute_force, neighbor_sums
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from timbral.models.kernels.vector_sum import WIDE
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.coded_offers import HELD
from timbral.models.search.index_kernel import MANY_GROUPS
from timbral.models.search.item_index import BLOCK_ITEMS, GROUP_BLOCKS, ItemIndex
from timbral.models.search.top_k import CHUNK_USERS, TopK, scores_of, top_k
from timbral.models.search.touched_items import CODES_FROM


def sparse_factors(rng: np.random.Generator, shape: tuple[int, int], zeros: float = 0.5, skew: float = 1.0) -> Array:
    """Non-negative, part of it zero, of very different norms: like what a factorisation gives."""
    factors = rng.gamma(0.5, size=shape) * (rng.random(shape) >= zeros)
    return (factors * rng.pareto(2.0, shape[0])[:, None] ** skew).astype(np.float32)


def rows_of(rng: np.random.Generator, shape: tuple[int, int], density: float) -> sparse.csr_matrix:
    return sparse.random(*shape, density, format="csr", random_state=rng, dtype=np.float32)


def neighbors_of(rng: np.random.Generator, n_items: int, density: float, values: Array) -> Neighbors:
    """Pairs whose weights are among ``values``; what is 0 says nothing."""
    pairs = rows_of(rng, (n_items, n_items), density)
    pairs.sort_indices()
    weights = rng.choice(values, pairs.nnz).astype(np.float32)
    return Neighbors(pairs.indptr.astype(np.int64), pairs.indices, weights)


SHAPES = st.tuples(st.integers(1, 70), st.integers(1, 9) | st.just(CODES_FROM), st.integers(1, 90))


@st.composite
def requests(draw: st.DrawFn) -> tuple[Array, Array, int, dict[str, Any]]:
    """Small factors from few values, so that ties, zeros and zero rows are common, with any mix of lists."""
    n_users, n_components, n_items = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = np.array(
        draw(st.sampled_from([[0], [0, 1], [0, 1, 2], [0, 0.1, 0.7], [0, 1e-30, 1, 1e18], [0, 1e-38, 1e-3]]))
    )
    users = rng.choice(values, (n_users, n_components)).astype(np.float32)
    items = rng.choice(values, (n_components, n_items)).astype(np.float32)
    options: dict[str, Any] = {}
    for name in ("seen", "blocked_by_user", "allowed_by_user"):
        if draw(st.booleans()):
            options[name] = rows_of(rng, (n_users, n_items), draw(st.sampled_from([0, 0.1, 0.7, 1])))
    for name in ("blocked", "allowed"):
        if draw(st.booleans()):
            options[name] = draw(st.lists(st.integers(0, n_items - 1), max_size=2 * n_items))
    if draw(st.booleans()):
        options["plays"] = rows_of(rng, (n_users, n_items), draw(st.sampled_from([0, 0.1, 0.7, 1])))
        neighbors = neighbors_of(rng, n_items, draw(st.sampled_from([0, 0.02, 0.3, 1])), values)
        options["neighbors"] = replace(neighbors, play_exponent=draw(st.sampled_from([0.0, 0.5, 3.0])))
    if draw(st.booleans()):
        options["recency"] = rng.choice(values, n_items).astype(np.float32)
    return users, items, draw(st.integers(1, n_items + 3)), options


@given(requests(), st.booleans())
def test_lists_are_those_of_brute_force_whatever_is_asked(
    request: tuple[Array, Array, int, dict[str, Any]], with_index: bool
) -> None:
    users, items, k, options = request

    index = ItemIndex.of(items, options.get("recency")) if with_index else None
    found = top_k(users, items, k, index=index, n_threads=2, **options)

    assert_same(found, brute_force(users, items, k, **options))


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([1, 10, 300]))
def test_lists_from_a_large_catalogue_are_those_of_brute_force(seed: int, zeros: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    users, items = sparse_factors(rng, (60, 24), zeros), sparse_factors(rng, (1800, 24), zeros).T.copy()
    seen = rows_of(rng, (60, 1800), 0.02)

    assert_same(top_k(users, items, k, seen=seen, n_threads=1), brute_force(users, items, k, seen=seen))


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.01, 1.0, 100.0]),
    st.sampled_from([1, 10, 300]),
    st.sampled_from([0.0, 0.1, 10.0]),
    st.sampled_from([None, "blocked", "allowed", "blocked_by_user"]),
)
def test_lists_with_neighbors_from_a_large_catalogue_are_those_of_brute_force(
    seed: int, weight: float, k: int, recency: float, ruled_out: str | None
) -> None:
    rng = np.random.default_rng(seed)
    users, items = sparse_factors(rng, (130, 24), 0.5), sparse_factors(rng, (1800, 24), 0.5).T.copy()
    options: dict[str, Any] = {
        "plays": rows_of(rng, (130, 1800), 0.02),
        "seen": rows_of(rng, (130, 1800), 0.02),
        "neighbors": neighbors_of(rng, 1800, 0.02, weight * rng.random(50)),
    }
    if recency:
        options["recency"] = (recency * rng.random(1800)).astype(np.float32)
    if ruled_out == "blocked_by_user":
        options[ruled_out] = rows_of(rng, (130, 1800), 0.3)
    elif ruled_out:
        options[ruled_out] = rng.permutation(1800)[:900]

    assert_same(top_k(users, items, k, n_threads=2, **options), brute_force(users, items, k, **options))


@given(requests())
def test_the_score_of_a_pair_is_to_the_bit_that_of_the_list(request: tuple[Array, Array, int, dict[str, Any]]) -> None:
    users, items, k, options = request
    whole = {name: options[name] for name in ("neighbors", "plays", "recency") if name in options}

    found = top_k(users, items, k, n_threads=1, **options)

    owners = np.repeat(np.arange(len(users)), np.diff(found.indptr))
    np.testing.assert_array_equal(
        scores_of(users, items, owners, found.item_indices.astype(np.int64), **whole), found.scores
    )


def test_scores_that_differ_by_less_than_float32_sums_err_are_ordered_right() -> None:
    rng = np.random.default_rng(5)
    users = rng.random((64, 100), dtype=np.float32)
    items = np.full((100, 1500), 0.5, np.float32) + rng.integers(-2, 3, (100, 1500)).astype(np.float32) * np.float32(
        2**-24
    )

    assert_same(top_k(users, items, 50), brute_force(users, items, 50))


def test_equal_scores_go_by_the_lower_item() -> None:
    items = np.ones((3, 2000), np.float32)
    items[:, 1700] = 2

    for n_users in (1, 100):
        found = top_k(np.ones((n_users, 3), np.float32), items, 4)
        assert [found[0][0].tolist(), found[n_users - 1][0].tolist()] == [[1700, 0, 1, 2]] * 2


def test_a_user_without_any_taste_gets_the_first_unseen_items() -> None:
    items = np.ones((3, 100), np.float32)
    seen = sparse.csr_matrix(([0.0], ([0], [1])), (1, 100))  # a stored zero is seen too

    found = top_k(np.zeros((1, 3), np.float32), items, 3, seen=seen)

    assert found[0][0].tolist() == [0, 2, 3]
    assert found[0][1].tolist() == [0, 0, 0]


def test_an_exhausted_list_is_short_and_never_padded() -> None:
    items = np.ones((2, 5), np.float32)
    seen = sparse.csr_matrix(np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]]))

    found = top_k(np.ones((3, 2), np.float32), items, 9, seen=seen, blocked=[4])

    assert [list(items) for items, _ in found] == [[], [1], [0, 1, 2, 3]]
    assert found.indptr.tolist() == [0, 0, 1, 5]


def test_unsorted_and_repeated_indices_are_understood() -> None:
    items = np.arange(6, dtype=np.float32)[None]
    seen = sparse.csr_matrix((np.ones(3, np.float32), np.array([5, 0, 5]), np.array([0, 3])), (1, 6))
    listed = sparse.csr_matrix((np.ones(4, np.float32), np.array([4, 4, 2, 5]), np.array([0, 4])), (1, 6))

    assert top_k(np.ones((1, 1), np.float32), items, 9, seen=seen)[0][0].tolist() == [4, 3, 2, 1]
    assert top_k(np.ones((1, 1), np.float32), items, 9, seen=seen, allowed_by_user=listed)[0][0].tolist() == [4, 2]
    assert top_k(np.ones((1, 1), np.float32), items, 9, allowed=[3, 3, 1])[0][0].tolist() == [3, 1]


def test_empty_lists_mean_what_they_say() -> None:
    users, items = np.ones((2, 1), np.float32), np.ones((1, 3), np.float32)

    assert len(top_k(users, items, 2, blocked=[]).item_indices) == 4
    assert len(top_k(users, items, 2, allowed=[]).item_indices) == 0
    assert len(top_k(users, items, 2, allowed_by_user=sparse.csr_matrix((2, 3))).item_indices) == 0
    assert len(top_k(users[:0], items, 2)) == 0
    assert len(top_k(users, items[:, :0], 2)[1][0]) == 0
    assert top_k(users[:, :0], items[:0], 2)[0][0].tolist() == [0, 1]


def test_lists_are_the_same_on_any_number_of_threads_and_with_any_layout() -> None:
    rng = np.random.default_rng(1)
    users, items = sparse_factors(rng, (400, 16)), sparse_factors(rng, (3000, 16)).T.copy()
    seen = rows_of(rng, (400, 3000), 0.01)
    whole: dict[str, Any] = {"plays": seen, "neighbors": neighbors_of(rng, 3000, 0.02, rng.random(50))}
    expected = brute_force(users, items, 10, seen=seen)
    expected_of_whole = brute_force(users, items, 10, seen=seen, **whole)

    for n_threads in (0, 1, 2, 7):
        assert_same(top_k(users, items, 10, seen=seen, n_threads=n_threads), expected)
        assert_same(top_k(users, items, 10, seen=seen, n_threads=n_threads, **whole), expected_of_whole)
    assert_same(top_k(np.asfortranarray(users), np.asfortranarray(items), 10, seen=seen), expected)
    for array in (users, items):
        array.flags.writeable = False
    assert_same(top_k(users, items, 10, seen=seen), expected)
    assert_same(top_k(users, items, 10, seen=seen.astype(np.float64), index=ItemIndex.of(items)), expected)


def test_the_search_passes_over_blocks_whose_ceiling_is_too_low() -> None:
    rng = np.random.default_rng(2)
    users, items = sparse_factors(rng, (100, 16), 0.2), sparse_factors(rng, (3000, 16), 0.2).T.copy()
    items[:, 500:] *= np.float32(1e-6)
    index = ItemIndex.of(items)
    # Hopeless items now have factors that would win, if anybody looked: only the index has them as they were.
    hopeless = index.item_lengths.max(1) < 1e-2
    trap = items.copy()
    trap[:, hopeless] = 1e9

    assert hopeless.mean() > 0.5
    assert_same(top_k(users, trap, 10, index=index), brute_force(users, items, 10))


@pytest.mark.parametrize("n_seen", [0, 20, 200])
def test_lists_that_begin_with_a_threshold_of_the_longest_items_are_those_of_brute_force(n_seen: int) -> None:
    rng, n_items = np.random.default_rng(n_seen), MANY_GROUPS * GROUP_BLOCKS * BLOCK_ITEMS + 5
    users = sparse_factors(rng, (10, 8), 0.1)
    items = sparse_factors(rng, (n_items, 8), 0.1).T.copy()
    best = np.argsort(-(users @ items), axis=1)[:, :n_seen]  # the very items that it would begin with
    seen = sparse.csr_matrix((np.ones(best.size), best.ravel(), np.arange(11) * n_seen), (10, n_items))

    for options in ({"seen": seen}, {"seen": seen, "blocked": np.unique(best[:3])}):
        assert_same(
            top_k(users, items, 10, index=ItemIndex.of(items), **options), brute_force(users, items, 10, **options)
        )


def test_of_a_block_that_is_looked_at_codes_leave_those_that_may_be_in_the_list() -> None:
    rng = np.random.default_rng(3)
    # Of one length and in one order with the others: no bound of a block passes over who has nothing for these users.
    items = rng.random((30, 2000), dtype=np.float32)
    items[:15, ::2] = 0
    items[15:, 1::2] = 0
    items /= np.linalg.norm(items, axis=0)
    users = np.vstack([rng.random((15, 40), dtype=np.float32), np.zeros((15, 40), np.float32)]).T.copy()
    expected, index = brute_force(users, items, 10), ItemIndex.of(items)
    # Their factors would win now, but for those that are looked at before there is a threshold.
    trap = items.copy()
    trap[:, ::2] = 1e9
    first = index.item_of[: 16 * WIDE]
    trap[:, first] = items[:, first]

    assert (trap == 1e9).mean() > 0.4
    assert_same(top_k(users, trap, 10, index=index), expected)


def test_the_search_passes_over_what_neighbors_speak_for_in_vain() -> None:
    rng = np.random.default_rng(2)
    users, items = sparse_factors(rng, (100, 16), 0.2), sparse_factors(rng, (3000, 16), 0.2).T.copy()
    items[:, 500:] *= np.float32(1e-6)
    whole: dict[str, Any] = {
        "plays": rows_of(rng, (100, 3000), 0.01),
        "neighbors": neighbors_of(rng, 3000, 0.05, np.array([1e-6, 1e-5])),
    }
    index = ItemIndex.of(items)
    # Hopeless items now have factors that would win, if anybody looked: only the index has them as they were.
    hopeless = index.item_lengths.max(1) < 1e-2
    trap = items.copy()
    trap[:, hopeless] = 1e9

    assert (neighbor_sums(whole["neighbors"], whole["plays"])[:, hopeless] > 0).mean() > 0.5
    assert hopeless.mean() > 0.5
    assert_same(top_k(users, trap, 10, index=index, **whole), brute_force(users, items, 10, **whole))


def test_of_what_neighbors_speak_for_codes_leave_what_may_be_in_the_list() -> None:
    rng, n_items = np.random.default_rng(4), 2000
    # As above, with an item for each user that only neighbours make good.
    items = np.tile(rng.random((CODES_FROM, 1), dtype=np.float32), (1, n_items))
    items *= rng.choice([np.float32(0.9), np.float32(1.0)], items.shape)
    half = CODES_FROM // 2
    items[:half, ::2] = 0
    items[half:, 1::2] = 0
    users = np.vstack([rng.random((half, 40), dtype=np.float32), np.zeros((half, 40), np.float32)]).T.copy()
    whole: dict[str, Any] = {
        "plays": rows_of(rng, (40, n_items), 0.01),
        "neighbors": neighbors_of(rng, n_items, 0.1, np.array([1e-4, 1e-3])),
    }
    expected, index = brute_force(users, items, 10, **whole), ItemIndex.of(items)
    trap = items.copy()
    trap[:, ::2] = 1e9
    listed = np.unique(top_k(users, items, 10, index=index).item_indices)  # these alone are looked at in any case
    first = np.union1d(listed, index.item_of[: 16 * WIDE])
    trap[:, first] = items[:, first]

    assert (trap == 1e9).mean() > 0.4
    assert (neighbor_sums(whole["neighbors"], whole["plays"])[:, ::2] > 0).mean() > 0.5
    assert_same(top_k(users, trap, 10, index=index, **whole), expected)


@pytest.mark.parametrize("with_mask", [False, True])
def test_lists_of_users_with_more_spoken_for_than_is_held_back_at_a_time_are_those_of_brute_force(
    with_mask: bool,
) -> None:
    rng, n_users, n_items = np.random.default_rng(5), CHUNK_USERS, 2000
    users, items = rng.random((n_users, CODES_FROM)), rng.random((CODES_FROM, n_items))
    users, items = users.astype(np.float32), items.astype(np.float32)
    plays = rows_of(rng, (n_users, n_items), 0.02)
    options: dict[str, Any] = {
        "plays": plays,
        "seen": rows_of(rng, (n_users, n_items), 0.1),
        "neighbors": neighbors_of(rng, n_items, 0.1, rng.random(50)),
        "recency": rng.random(n_items).astype(np.float32),
    }
    mask = (rng.random(n_items) < 0.1) & with_mask

    assert (neighbor_sums(options["neighbors"], plays) > 0).sum() > HELD
    expected = brute_force(users, items, 10, blocked=np.flatnonzero(mask), **options)
    assert_same(top_k(users, items, 10, blocked=mask if with_mask else None, **options), expected)


def test_memory_does_not_grow_with_users_times_items() -> None:
    rng = np.random.default_rng(3)
    users, items = sparse_factors(rng, (6000, 8)), sparse_factors(rng, (5000, 8)).T.copy()
    top_k(users, items, 10)

    tracemalloc.start()
    top_k(users, items, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 6e6  # a score for each user and item would take 120 MB


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(4)
    users, items = sparse_factors(rng, (300, 8)), sparse_factors(rng, (2000, 8)).T.copy()
    expected = brute_force(users, items, 5)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                assert_same(top_k(users, items, 5), expected)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def _in_a_child(users: Array, items: Array, queue: Any) -> None:
    found = top_k(users, items, 5, n_threads=2)
    queue.put((found.item_indices, found.scores))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_finds_the_same_after_its_parent_has_searched() -> None:
    rng = np.random.default_rng(6)
    users, items = sparse_factors(rng, (300, 8)), sparse_factors(rng, (2000, 8)).T.copy()
    expected = top_k(users, items, 5, n_threads=2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    child = context.Process(target=_in_a_child, args=(users, items, queue), daemon=True)
    child.start()
    found_items, found_scores = queue.get(timeout=100)
    child.join(60)

    np.testing.assert_array_equal(found_items, expected.item_indices)
    np.testing.assert_array_equal(found_scores, expected.scores)
    assert child.exitcode == 0


def test_a_list_is_read_by_its_row() -> None:
    found = TopK(np.array([0, 2, 3]), np.array([4, 2, 7], np.int32), np.array([3, 1, 9], np.float32))

    assert len(found) == 2
    assert [part.tolist() for part in found[-1]] == [[7], [9]]
    assert [items.tolist() for items, _ in found] == [[4, 2], [7]]
    for row in (2, -3):
        with pytest.raises(IndexError):
            found[row]
