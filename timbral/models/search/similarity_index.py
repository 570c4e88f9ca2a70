"""The items' own parts in four bits a value, and in eight, so that a search for the most similar items reads little.

An own part is an item's unit vector less the mean of all of them, by its length with a doubt (see
``timbral.models.similarity``). Own parts of trained factors point everywhere, those of items with few plays by chance:
no grouping of them leaves much to pass over. So each of them is looked at, but first as whole numbers that stand for it
nearly; how nearly is known, and only who may be among the best is looked at closely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError
from timbral.models.kernels.byte_sums import QUAD
from timbral.models.kernels.nibble_sums import CODE_STEPS, CODED_ITEMS, HALVES
from timbral.models.kernels.vector_sum import LANES
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.index_check import check_order, check_shapes
from timbral.models.search.similarity_kernels import (
    FINE_MIDDLE,
    FINE_PARTS,
    MIDDLE,
    ROUNDED,
    encode,
    own_parts,
    said_together,
)
from timbral.models.similarity import doubt_of, mean_direction

__all__ = ["SimilarityIndex"]

BLOCKS: Final = ("codes", "item_of", "scales", "errors", "fine_codes", "fine_errors")
PARTS: Final = ("mean", *BLOCKS, "source_indptr", "sources")
CHECKED_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityIndex:
    """Of items with vectors (n_items, k): 1.5 · k bytes an item, and 4 for each pair of neighbours. All arrays are
    read-only.

    ``mean`` (k,) float32, ``mean_direction(vectors)``; ``codes`` (n_blocks, k / 4 rounded up, 128) uint8: own parts of
    64 items, as ``lanes_that_reach`` reads them; ``item_of`` (n_blocks · 64,) int32: the item in each place, −1 where
    there is none; ``scales`` and ``errors`` (n_blocks,) float32: what a step of the codes stands for, and the longest
    distance between an own part and what its codes stand for; ``fine_codes`` (n_blocks · 64, k) uint8 and
    ``fine_errors`` (n_blocks,) float32: the same, with 17 steps in one of the others, and a row for each place. The
    items that speak for item i as neighbours are ``sources[source_indptr[i] : source_indptr[i + 1]]``, ascending, int32
    and int64.
    """

    mean: npt.NDArray[np.float32]
    codes: npt.NDArray[np.uint8]
    item_of: npt.NDArray[np.int32]
    scales: npt.NDArray[np.float32]
    errors: npt.NDArray[np.float32]
    fine_codes: npt.NDArray[np.uint8]
    fine_errors: npt.NDArray[np.float32]
    source_indptr: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int32]

    @classmethod
    def of(cls, vectors: npt.NDArray[np.float32], neighbors: Neighbors) -> Self:
        """The index of ``vectors`` (n_items, k), C-contiguous, ≥ 0."""
        n_items, k = vectors.shape
        mean = mean_direction(vectors)
        own = np.empty((n_items, k), np.float32)
        own_parts(vectors, mean, doubt_of(mean), own)
        n_blocks = -(-n_items // CODED_ITEMS)
        item_of = np.full(n_blocks * CODED_ITEMS, -1, np.int32)
        # A block has one scale: items of the same scale go together.
        item_of[:n_items] = np.argsort(-np.abs(own).max(axis=1, initial=0.0), kind="stable")
        codes = np.zeros((n_blocks, -(-k // QUAD), CODED_ITEMS // 2 * QUAD), np.uint8)
        scales, errors = np.empty(n_blocks, np.float32), np.empty(n_blocks, np.float32)
        fine_codes, fine_errors = np.zeros((n_blocks * CODED_ITEMS, k), np.uint8), np.empty(n_blocks, np.float32)
        encode(own, item_of, codes, scales, errors, fine_codes, fine_errors)
        pairs = (np.ones(len(neighbors.items), bool), neighbors.items, neighbors.indptr)
        turned = sparse.csr_matrix(pairs, shape=(n_items, n_items), copy=False).tocsc()
        sources = turned.indptr.astype(np.int64), turned.indices.astype(np.int32, copy=False)
        arrays: list[npt.NDArray[Any]] = [mean, codes, item_of, scales, errors, fine_codes, fine_errors, *sources]
        for array in arrays:
            array.flags.writeable = False
        return cls(*arrays)

    @property
    def blocks(self) -> tuple[npt.NDArray[Any], ...]:
        """What ``most_similar`` searches."""
        return tuple(getattr(self, name) for name in BLOCKS)

    def together(
        self, neighbors: Neighbors, item: int, weight: float
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """What ``neighbors.likeness(item, weight)`` gives, without a look at all of them."""
        size = int(neighbors.indptr[item + 1] - neighbors.indptr[item])
        size += int(self.source_indptr[item + 1] - self.source_indptr[item])
        items, values = np.empty(size, np.int32), np.empty(size)
        parts = neighbors.indptr, neighbors.items, neighbors.weights, self.source_indptr, self.sources
        length = said_together(*parts, item, weight, items, values)
        return items[:length], values[:length]

    def tensors(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For a model's file."""
        return {f"{prefix}{name}": getattr(self, name) for name in PARTS}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, vectors: npt.NDArray[np.float32], n_pairs: int
    ) -> Self:
        """What ``tensors`` gave; a kernel will read memory where these arrays say, so all that could lead it astray is
        checked, and of the rest a sample.

        Args:
            vectors: those that it must be of.
            n_pairs: of the neighbours.

        Raises:
            DataError: it is not the index of these.
            KeyError: there is none.
        """
        made = cls(*(tensors[f"{prefix}{name}"] for name in PARTS))
        n_items, k = vectors.shape
        n_blocks = -(-n_items // CODED_ITEMS)
        shapes = {
            "mean": (k,),
            "codes": (n_blocks, -(-k // QUAD), CODED_ITEMS // 2 * QUAD),
            "item_of": (n_blocks * CODED_ITEMS,),
            "scales": (n_blocks,),
            "errors": (n_blocks,),
            "fine_codes": (n_blocks * CODED_ITEMS, k),
            "fine_errors": (n_blocks,),
            "source_indptr": (n_items + 1,),
            "sources": (n_pairs,),
        }
        dtypes: dict[str, Any] = {
            "codes": np.uint8,
            "fine_codes": np.uint8,
            "item_of": np.int32,
            "source_indptr": np.int64,
            "sources": np.int32,
        }
        check_shapes("similarity index", made, shapes, dtypes)
        ends = made.source_indptr
        if ends[0] != 0 or ends[-1] != n_pairs or (np.diff(ends) < 0).any():
            raise DataError("its similarity index does not fit its neighbours")
        if n_pairs and not 0 <= int(made.sources.min()) <= int(made.sources.max()) < n_items:
            raise DataError("its similarity index does not fit its neighbours")

        check_order("similarity index", made.item_of, n_items)
        made._check_codes(vectors)
        return made

    def _check_codes(self, vectors: npt.NDArray[np.float32]) -> None:
        """Raise DataError unless a sample of the codes stands for what it is said to, as nearly as it is said to."""
        k, n_blocks = vectors.shape[1], len(self.codes)
        for block in np.unique(np.linspace(0, n_blocks - 1, CHECKED_BLOCKS).astype(int)) if n_blocks else ():
            items = self.item_of[block * CODED_ITEMS : (block + 1) * CODED_ITEMS]
            items = items[items >= 0]
            own = np.empty((len(items), k), np.float32)
            own_parts(np.ascontiguousarray(vectors[items]), self.mean, doubt_of(self.mean), own)
            pairs = self.codes[block].reshape(-1, HALVES, LANES, QUAD)
            # (quad, half, item, component) and which of the two: by items, and then by components.
            both = np.stack([pairs & CODE_STEPS, pairs >> 4], axis=2)
            codes = both.transpose(1, 2, 3, 0, 4).reshape(CODED_ITEMS, -1)[:, :k]
            scale = self.scales[block].astype(np.float64)
            fine = self.fine_codes[block * CODED_ITEMS : block * CODED_ITEMS + len(items)]
            for steps, unit, error in (
                (codes[: len(items)] - MIDDLE, scale, self.errors[block]),
                (fine - FINE_MIDDLE, scale / FINE_PARTS, self.fine_errors[block]),
            ):
                distances = np.linalg.norm(own - steps * unit if scale else own, axis=1)
                if not (distances <= error + ROUNDED / 2).all():
                    raise DataError("its similarity index is another model's")
