"""The best items for many users at once: exact, without ever holding a score for every user and item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import ParameterError
from timbral.judging.matrix import Csr
from timbral.models.kernels.threads import resolve_n_threads
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search import top_k_kernels as kernels
from timbral.models.search.index_kernel import search_index
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.ruled_out import EXCLUDED
from timbral.models.search.scratch import scratch
from timbral.models.search.touched_items import offer_touched

__all__ = ["TopK", "scores_of", "top_k"]

Arrays = tuple[npt.NDArray[Any], ...]
Search = Callable[[int, int, Arrays, Arrays, Arrays, Arrays], None]
"""Makes the lists from one user to another: of the pairs and what is ruled out, with sums to work in, into the last."""
Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]
CHUNK_USERS = 64
"""Users who share what of the index is in the cache."""
INDEX_WORTH_USERS = 48
SOME_LISTED, FEW_LISTED = 4, 64
"""What is allowed is looked at item by item where it is less than this part of the catalogue: without an index, with
one, which passes over most of what is not good enough."""


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """Ragged lists, one for each user asked for, best item first.

    List ``i`` is ``item_indices[indptr[i]:indptr[i + 1]]`` with ``scores`` beside it; ``top[i]`` gives both.
    ``indptr`` is int64 of shape (n_users + 1,), ``item_indices`` int32 and ``scores`` float32.
    """

    indptr: npt.NDArray[np.int64]
    item_indices: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"list {row} of {len(self)}")
        row %= len(self)
        place = slice(self.indptr[row], self.indptr[row + 1])
        return self.item_indices[place], self.scores[place]

    def without(self, rows: npt.NDArray[np.bool_]) -> TopK:
        """The same with the lists of the marked ``rows`` empty."""
        lengths = np.where(rows, 0, np.diff(self.indptr))
        kept = np.repeat(~rows, np.diff(self.indptr))
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        return TopK(indptr, self.item_indices[kept], self.scores[kept])

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
        return (self[row] for row in range(len(self)))


def top_k(
    user_factors: npt.NDArray[np.float32],
    item_factors: npt.NDArray[np.float32],
    k: int,
    *,
    recency: npt.NDArray[np.float32] | None = None,
    neighbors: Neighbors | None = None,
    plays: Csr | None = None,
    seen: Csr | None = None,
    blocked: npt.ArrayLike | None = None,
    blocked_by_user: Csr | None = None,
    allowed: npt.ArrayLike | None = None,
    allowed_by_user: Csr | None = None,
    index: ItemIndex | None = None,
    n_threads: int = 0,
) -> TopK:
    """The ``k`` best items for each row of ``user_factors``; fewer where fewer are left, never one that is ruled out.

    The score of user ``u`` and item ``i`` is the float32 nearest to the float64 sum, in the order of the components, of
    ``user_factors[u, c] * item_factors[c, i]``, of ``recency[i]``, and of the sum, in float64 too, of what
    ``neighbors`` have for ``i`` of the items in row ``u`` of ``plays``, in their order there. Lists are ordered by this
    score, the lower item index first where scores are equal; so the answer is one and the same whatever the number of
    threads, and the same as by brute force.

    Args:
        user_factors: float32 of shape (n_users, n_components), not negative, finite; a row for each list.
        item_factors: float32 of shape (n_components, n_items), not negative, finite; the transpose of a C-contiguous
            array is taken as it is, another layout is copied.
        k: length of a list, at least 1; may exceed the number of items.
        recency: float32 (n_items,), not negative: what every user's score of an item has beside; None: nothing.
        neighbors: what a played item says for others; None: nothing.
        plays: sparse, shape (n_users, n_items): what is stored in row ``u`` was played by ``u``, once, whatever the
            value is.
        seen: sparse, shape (n_users, n_items): what is stored in row ``u``, a zero too, is not in list ``u``.
        blocked: item indices that are in no list, or bool (n_items,), True for these.
        blocked_by_user: like ``seen``.
        allowed: item indices, or bool (n_items,); no other item is in any list.
        allowed_by_user: sparse, shape (n_users, n_items): only what is stored in row ``u`` is in list ``u``; an empty
            row makes an empty list.
        index: ``ItemIndex.of(item_factors, recency)``, for who calls often and keeps it; made here where it pays.
        n_threads: 0 takes every core that the process may use.

    Raises:
        ParameterError: a shape, a dtype or an index that cannot be right.
    """
    users, items = _read_only(_factors("user_factors", user_factors)), _factors("item_factors", item_factors)
    (n_users, n_components), n_items = users.shape, items.shape[1]
    if items.shape[0] != n_components:
        raise ParameterError(
            f"item_factors must have {n_components} rows like a user's vector (got shape {items.shape})"
        )
    if k < 1:
        raise ParameterError(f"k must be at least 1 (got {k})")
    boost = _recency(recency, n_items)
    if index is not None and index.shape != (n_components + int(len(boost) > 0), n_items):
        shape = (n_components + int(len(boost) > 0), n_items)
        raise ParameterError(f"the index is of item_factors of shape {index.shape}, not {shape}")
    pairs = _pairs(neighbors, plays, n_users, n_items)
    seen_rows = pairs[:2] if neighbors is not None and seen is plays else _rows("seen", seen, n_users, n_items)
    blocked_rows = _rows("blocked_by_user", blocked_by_user, n_users, n_items)
    barred, some = _barred("blocked", blocked, n_items)
    outside, chosen = _barred("allowed", allowed, n_items)
    item_rows = _read_only(items.T)
    width, made = n_items, None
    common = users, item_rows, boost
    listed: tuple[npt.NDArray[Any], ...] | None = None
    if allowed_by_user is not None:
        ends, listed_items = _rows("allowed_by_user", allowed_by_user, n_users, n_items)
        listed = _read_only(ends[:-1]), _read_only(ends[1:]), listed_items
    elif chosen is not None and (FEW_LISTED if index is not None else SOME_LISTED) * len(chosen) <= n_items:
        listed = _shared(chosen, n_users)
        chosen = None
    if chosen is not None:
        outside = np.ones(n_items, bool)
        outside[chosen] = False
    elif allowed is not None and len(outside):
        outside = ~outside
    if len(outside):
        barred = (barred | outside) if len(barred) else outside
    if listed is not None:
        width = int((listed[1] - listed[0]).max(initial=0))
        search = _every(partial(kernels.search_listed, *common, *listed))
    else:
        if index is not None or n_users >= INDEX_WORTH_USERS:
            made = index or ItemIndex.of(item_rows.T, boost if len(boost) else None)
        n_barred = n_items if len(barred) else 0 if some is None else len(some)
        search = _search(*common, made, n_barred)
    out = np.empty((n_users, min(k, width)), np.int32), np.empty((n_users, min(k, width)), np.float32)
    lengths = np.zeros(n_users, np.int64)
    if min(k, width):
        chunks = iter(range(0, n_users, CHUNK_USERS))  # shared: a thread that is done takes the next chunk
        ruled_out = *seen_rows, *blocked_rows, _read_only(barred.view(np.uint8))
        marked: list[npt.NDArray[Any]] = [
            seen_rows[1],
            blocked_rows[1],
            *([] if some is None else [some]),
            *(listed[2:] if listed else []),
        ]

        def work() -> None:
            with scratch(n_items, marked) as held:
                if some is not None:
                    held.marks[some] = EXCLUDED
                for start in chunks:
                    stop = min(start + CHUNK_USERS, n_users)
                    search(start, stop, pairs, (*ruled_out, held.marks), (held.sums, held.touched), (*out, lengths))

        _run(work, min(resolve_n_threads(n_threads), -(-n_users // CHUNK_USERS)))
    return _compact(*out, lengths)


def scores_of(
    user_factors: npt.NDArray[np.float32],
    item_factors: npt.NDArray[np.float32],
    users: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    *,
    recency: npt.NDArray[np.float32] | None = None,
    neighbors: Neighbors | None = None,
    plays: Csr | None = None,
) -> npt.NDArray[np.float32]:
    """The scores of ``users[n]`` with ``items[n]``, float32, to the bit as ``top_k`` has them; the arguments are those
    of ``top_k``."""
    scores = np.empty(len(users), np.float32)
    pairs = _pairs(neighbors, plays, len(user_factors), item_factors.shape[1])
    boost = _recency(recency, item_factors.shape[1])
    kernels.score_pairs(
        _read_only(user_factors),
        _read_only(item_factors.T),
        boost,
        _read_only(users),
        _read_only(items),
        *pairs,
        scores,
    )
    return scores


def _search(
    users: npt.NDArray[np.float32],
    item_rows: npt.NDArray[np.float32],
    recency: npt.NDArray[np.float32],
    index: ItemIndex | None,
    n_barred: int,
) -> Search:
    """The search of the whole catalogue, of which no more than ``n_barred`` items are in no list."""
    if not (users.min(initial=0) >= 0 and users.max(initial=0) < np.inf):
        raise ParameterError("user_factors must be finite and not negative")
    if index is None:
        return _every(partial(kernels.search_all, users, item_rows, recency))

    def search(start: int, stop: int, pairs: Arrays, ruled_out: Arrays, sums: Arrays, out: Arrays) -> None:
        search_index(users, item_rows, recency, *index.parts, start, stop, n_barred, *ruled_out, *out)
        if len(pairs[-1]) and pairs[0][start] < pairs[0][stop]:
            offer_touched(users, item_rows, recency, *index.touched_parts, start, stop, *pairs, *ruled_out, *sums, *out)

    return search


def _every(kernel: Callable[..., Any]) -> Search:
    """The search of a kernel that looks at each item."""
    return lambda start, stop, pairs, ruled_out, sums, out: kernel(start, stop, *pairs, *ruled_out, *sums, *out)


def _shared(items: npt.NDArray[np.int64], n_users: int) -> tuple[npt.NDArray[Any], ...]:
    """One list of items, for everybody: where it starts for each user, where it ends, and what it is."""
    items = np.unique(items).astype(np.int32)
    return tuple(map(_read_only, (np.zeros(n_users, np.int64), np.full(n_users, len(items)), items)))


def _recency(recency: npt.NDArray[np.float32] | None, n_items: int) -> npt.NDArray[np.float32]:
    if recency is None:
        return _read_only(np.empty(0, np.float32))
    if recency.dtype != np.float32 or recency.shape != (n_items,):
        raise ParameterError(f"recency must be float32 of shape ({n_items},) (got {recency.dtype} of {recency.shape})")
    return _read_only(recency)


def _barred(
    name: str, items: npt.ArrayLike | None, n_items: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64] | None]:
    """``items`` as a mask, or as indices; of the other there is nothing."""
    nothing = np.empty(0, bool)
    if items is None:
        return nothing, None
    if isinstance(items, np.ndarray) and items.dtype == bool:
        if items.shape != (n_items,):
            raise ParameterError(f"{name} must be item indices or bool of shape ({n_items},) (got shape {items.shape})")
        return items, None
    return nothing, _item_indices(name, items, n_items)


def _pairs(
    neighbors: Neighbors | None,
    plays: Csr | None,
    n_users: int,
    n_items: int,
) -> tuple[npt.NDArray[Any], ...]:
    if neighbors is None or plays is None:
        neighbors, plays = Neighbors.none(n_items), None
    if neighbors.n_items != n_items:
        raise ParameterError(f"the neighbors are of {neighbors.n_items} items, not {n_items}")
    pairs = neighbors.indptr, neighbors.items, neighbors.weights
    return (*_rows("plays", plays, n_users, n_items), *(_read_only(part) for part in pairs))


def _run(work: Callable[[], None], n_threads: int) -> None:
    if n_threads <= 1:
        work()
        return
    with ThreadPoolExecutor(n_threads, thread_name_prefix="timbral-top-k") as pool:
        for done in [pool.submit(work) for _ in range(n_threads)]:
            done.result()


def _compact(items: npt.NDArray[np.int32], scores: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64]) -> TopK:
    indptr = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    if indptr[-1] == items.size:
        return TopK(indptr, items.reshape(-1), scores.reshape(-1))
    filled = np.arange(items.shape[1]) < lengths[:, None]
    return TopK(indptr, items[filled], scores[filled])


def _factors(name: str, factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not isinstance(factors, np.ndarray) or factors.ndim != 2 or factors.dtype != np.float32:
        found = (
            f"{factors.dtype} of shape {factors.shape}" if isinstance(factors, np.ndarray) else type(factors).__name__
        )
        raise ParameterError(f"{name} must be a float32 array with 2 dimensions (got {found})")
    return factors


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Mapped factors are read-only, and a kernel would be compiled a second time for arrays that are not.
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


def _item_indices(name: str, indices: npt.ArrayLike, n_items: int) -> npt.NDArray[np.int64]:
    found = np.asarray(indices)
    if found.size == 0:
        return np.empty(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ParameterError(f"{name} must be a list of item indices (got {found.dtype} of shape {found.shape})")
    if found.min() < 0 or found.max() >= n_items:
        raise ParameterError(f"{name}: item indices must be in range [0, {n_items}) (got {found.min()}..{found.max()})")
    return found.astype(np.int64)


def _rows(name: str, matrix: Csr | None, n_users: int, n_items: int) -> Rows:
    if matrix is None:
        return _read_only(np.zeros(n_users + 1, np.int64)), _read_only(np.empty(0, np.int32))
    if not sparse.issparse(matrix) or matrix.format != "csr" or matrix.shape != (n_users, n_items):
        found = f"{matrix.format} of shape {matrix.shape}" if sparse.issparse(matrix) else type(matrix).__name__
        raise ParameterError(f"{name} must be a sparse CSR matrix of shape ({n_users}, {n_items}) (got {found})")
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices
    # The kernels do not look again: an index out of range would be read out of memory that is not ours.
    if indptr[0] != 0 or indptr[-1] > indices.size or (np.diff(indptr) < 0).any():
        raise ParameterError(f"{name} is not a valid CSR matrix: its indptr does not rise from 0 to {indices.size}")
    if indices.size and (indices.min() < 0 or indices.max() >= n_items):
        raise ParameterError(f"{name}: item indices must be in range [0, {n_items})")
    return _read_only(indptr), _read_only(indices.astype(np.int32, copy=False))
