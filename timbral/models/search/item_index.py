"""Item factors rearranged so that a search for the best items can pass over most of them.

Factors are not negative. So no item of a block scores higher for a user than the block's *ceiling* does: the largest
value of each component within the block. Items are put beside items of like norm and like strongest components, which
makes the ceilings low; 16 of them make a block, 32 blocks a group with a ceiling of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from numba import float32, int32, types, uint64

from timbral.errors import DataError, ParameterError
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.vector_sum import LANES, aligned_zeros
from timbral.models.search.index_check import check_order, check_shapes

__all__ = ["BLOCK_ITEMS", "GROUP_BLOCKS", "ItemIndex"]

BLOCK_ITEMS = LANES
GROUP_BLOCKS = 32
GROUP_ITEMS = BLOCK_ITEMS * GROUP_BLOCKS

CHECKED_BLOCKS: Final = 64
PARTS: Final = ("packed", "item_of", "block_ceilings", "group_ceilings")

_WRITABLE_BLOCKS = types.Array(float32, 3, "C")


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """A rearranged copy of the item factors, as large as they are. All arrays are read-only.

    ``shape`` is the factors' own, (n_components, n_items); ``packed`` (n_groups · 32, n_components, 16) float32: the
    blocks; ``item_of`` (n_groups · 512,) int32: the item in each place, −1 where there is none; ``block_ceilings``
    (n_groups, n_components, 32) and ``group_ceilings`` (n_components, n_groups and zeros up to a multiple of 16)
    float32.
    """

    shape: tuple[int, int]
    packed: npt.NDArray[np.float32]
    item_of: npt.NDArray[np.int32]
    block_ceilings: npt.NDArray[np.float32]
    group_ceilings: npt.NDArray[np.float32]

    @classmethod
    def of(cls, item_factors: npt.NDArray[np.float32], recency: npt.NDArray[np.float32] | None = None) -> ItemIndex:
        """The index of ``item_factors``, float32 of shape (n_components, n_items), and of ``recency`` (n_items,) as one
        component more, where it is given. Raises ParameterError on a negative value."""
        if recency is not None:
            item_factors = np.vstack([item_factors, recency[None, :].astype(np.float32)])
        n_components, n_items = item_factors.shape
        if item_factors.size and not (item_factors.min() >= 0 and item_factors.max() < np.inf):
            raise ParameterError("item_factors must be finite and not negative")
        item_rows = np.ascontiguousarray(item_factors.T, np.float32)
        n_groups = -(-n_items // GROUP_ITEMS)
        keys = np.empty(n_items, np.uint64)
        _likeness(item_rows, keys)
        item_of = np.full(n_groups * GROUP_ITEMS, -1, np.int32)
        item_of[:n_items] = np.argsort(keys)
        packed = aligned_zeros((n_groups * GROUP_BLOCKS, n_components, BLOCK_ITEMS))
        block_ceilings = aligned_zeros((n_groups, n_components, GROUP_BLOCKS))
        group_ceilings = aligned_zeros((n_components, -(-n_groups // LANES) * LANES))
        _pack(item_rows, item_of, packed, block_ceilings, group_ceilings)
        arrays: list[npt.NDArray[Any]] = [packed, item_of, block_ceilings, group_ceilings]
        for array in arrays:
            array.flags.writeable = False
        return cls((n_components, n_items), packed, item_of, block_ceilings, group_ceilings)

    def tensors(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For a model's file."""
        return {f"{prefix}{name}": getattr(self, name) for name in PARTS}

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        prefix: str,
        vectors: npt.NDArray[np.float32],
        recency: npt.NDArray[np.float32] | None,
    ) -> Self:
        """What ``tensors`` gave; a kernel will read memory where these arrays say, so all that could lead it astray is
        checked, and of the rest a sample.

        Args:
            vectors, recency: the items' (n_items, k) and (n_items,) or None, of which it must be.

        Raises:
            DataError: it is not the index of these.
            KeyError: there is none.
        """
        n_items, width = len(vectors), vectors.shape[1] + int(recency is not None)
        made = cls((width, n_items), *(tensors[f"{prefix}{name}"] for name in PARTS))
        n_groups = -(-n_items // GROUP_ITEMS)
        shapes = {
            "packed": (n_groups * GROUP_BLOCKS, width, BLOCK_ITEMS),
            "item_of": (n_groups * GROUP_ITEMS,),
            "block_ceilings": (n_groups, width, GROUP_BLOCKS),
            "group_ceilings": (width, -(-n_groups // LANES) * LANES),
        }
        check_shapes("item index", made, shapes, {"item_of": np.int32})
        check_order("item index", made.item_of, n_items)
        for block in np.unique(np.linspace(0, -(-n_items // BLOCK_ITEMS) - 1, CHECKED_BLOCKS).astype(int)):
            items = made.item_of[block * BLOCK_ITEMS : (block + 1) * BLOCK_ITEMS] if block >= 0 else made.item_of[:0]
            items = items[items >= 0]
            rows = vectors[items] if recency is None else np.hstack([vectors[items], recency[items, None]])
            ceilings = made.block_ceilings[block // GROUP_BLOCKS, :, block % GROUP_BLOCKS] if len(items) else 0
            if (made.packed[block].T[: len(items)] != rows).any() or (rows > ceilings).any():
                raise DataError("its item index is another model's")
        return made


@kernel(matrix(float32), vector(uint64, writable=True))
def _likeness(item_rows, keys):  # type: ignore[no-untyped-def]
    """A sorting key for each item: norm in half octaves, strongest component, second strongest, norm; large norms
    first."""
    n_items, n_components = item_rows.shape
    for item in range(n_items):
        square, first, second = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        first_at, second_at = 0, 0
        for component in range(n_components):
            value = item_rows[item, component]
            square += value * value
            if value > second:
                if value > first:
                    second, second_at = first, first_at
                    first, first_at = value, component
                else:
                    second, second_at = value, component
        # Half an octave of the norm is an octave of its square.
        octaves = np.log2(np.float64(max(np.float32(1e-30), min(square, np.float32(1e30)))))
        level = np.floor(octaves)
        within = np.int64((1.0 - (octaves - level)) * 0xFFFFFF)
        keys[item] = np.uint64(((128 - np.int64(level)) << 48) | (first_at << 36) | (second_at << 24) | within)


@kernel(matrix(float32), vector(int32), _WRITABLE_BLOCKS, _WRITABLE_BLOCKS, matrix(float32, writable=True))
def _pack(item_rows, item_of, packed, block_ceilings, group_ceilings):  # type: ignore[no-untyped-def]
    for block in range(len(packed)):
        group, number = block // GROUP_BLOCKS, block % GROUP_BLOCKS
        for lane in range(BLOCK_ITEMS):
            item = item_of[block * BLOCK_ITEMS + lane]
            if item < 0:
                continue
            for component in range(item_rows.shape[1]):
                value = item_rows[item, component]
                packed[block, component, lane] = value
                if value > block_ceilings[group, component, number]:
                    block_ceilings[group, component, number] = value
                    group_ceilings[component, group] = max(group_ceilings[component, group], value)
