"""Item factors rearranged so that a search for the best items can pass over most of them.

Factors are not negative. So no item of a block scores higher for a user than the block's *ceiling* does: the largest value
of each component within the block. Items are put beside items of like norm and like strongest components, which makes the
ceilings low; 16 of them make a block, 32 blocks a group with a ceiling of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import float32, int32, types, uint64

from timbral.errors import ParameterError
from timbral.models.kernel import kernel, matrix, vector
from timbral.models.vector_sum import LANES, aligned_zeros

__all__ = ["BLOCK_ITEMS", "GROUP_BLOCKS", "ItemIndex"]

BLOCK_ITEMS = LANES
GROUP_BLOCKS = 32
GROUP_ITEMS = BLOCK_ITEMS * GROUP_BLOCKS

_WRITABLE_BLOCKS = types.Array(float32, 3, "C")


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """A rearranged copy of the item factors, as large as they are. All arrays are read-only.

    ``shape`` is the factors' own, (n_components, n_items); ``packed`` (n_groups · 32, n_components, 16) float32: the blocks; ``item_of`` (n_groups · 512,) int32: the item in each
    place, −1 where there is none; ``block_ceilings`` (n_groups, n_components, 32) and ``group_ceilings``
    (n_components, n_groups and zeros up to a multiple of 16) float32.
    """

    shape: tuple[int, int]
    packed: npt.NDArray[np.float32]
    item_of: npt.NDArray[np.int32]
    block_ceilings: npt.NDArray[np.float32]
    group_ceilings: npt.NDArray[np.float32]

    @classmethod
    def of(cls, item_factors: npt.NDArray[np.float32]) -> ItemIndex:
        """The index of ``item_factors``, float32 of shape (n_components, n_items). Raises ParameterError on a negative value."""
        n_components, n_items = item_factors.shape
        if item_factors.size and not (item_factors.min() >= 0 and item_factors.max() < np.inf):
            raise ParameterError("item_factors must be finite and not negative")
        n_groups = -(-n_items // GROUP_ITEMS)
        item_of = np.full(n_groups * GROUP_ITEMS, -1, np.int32)
        keys = np.empty(n_items, np.uint64)
        _likeness(item_factors, keys)
        item_of[:n_items] = np.argsort(keys)
        packed = aligned_zeros((n_groups * GROUP_BLOCKS, n_components, BLOCK_ITEMS))
        _pack(item_factors, item_of, packed)
        block_ceilings = aligned_zeros((n_groups, n_components, GROUP_BLOCKS))
        group_ceilings = aligned_zeros((n_components, -(-n_groups // LANES) * LANES))
        _raise_ceilings(packed, block_ceilings, group_ceilings)
        arrays: list[npt.NDArray[Any]] = [packed, item_of, block_ceilings, group_ceilings]
        for array in arrays:
            array.flags.writeable = False
        return cls((n_components, n_items), packed, item_of, block_ceilings, group_ceilings)


@kernel(matrix(float32), vector(uint64, writable=True))
def _likeness(item_factors, keys):  # type: ignore[no-untyped-def]
    """A sorting key for each item: norm in half octaves, strongest component, second strongest, norm; large norms first."""
    n_components, n_items = item_factors.shape
    squares = np.zeros(n_items, np.float32)
    first, second = np.zeros(n_items, np.float32), np.zeros(n_items, np.float32)
    first_at, second_at = np.zeros(n_items, np.int32), np.zeros(n_items, np.int32)
    for component in range(n_components):
        for item in range(n_items):
            value = item_factors[component, item]
            squares[item] += value * value
            if value > second[item]:
                if value > first[item]:
                    second[item], second_at[item] = first[item], first_at[item]
                    first[item], first_at[item] = value, component
                else:
                    second[item], second_at[item] = value, component
    for item in range(n_items):
        level = 128 - np.int64(np.floor(np.log2(max(squares[item], np.float32(1e-30)))))
        within = np.int64(0xFFFFFF) - np.int64(min(squares[item], np.float32(1e9)) * np.float32(1e-2))
        keys[item] = np.uint64(
            (level << 48) | (np.int64(first_at[item]) << 36) | (np.int64(second_at[item]) << 24) | within
        )


@kernel(matrix(float32), vector(int32), _WRITABLE_BLOCKS)
def _pack(item_factors, item_of, packed):  # type: ignore[no-untyped-def]
    n_components = item_factors.shape[0]
    for block in range(len(packed)):
        for component in range(n_components):
            for lane in range(BLOCK_ITEMS):
                item = item_of[block * BLOCK_ITEMS + lane]
                if item >= 0:
                    packed[block, component, lane] = item_factors[component, item]


@kernel(_WRITABLE_BLOCKS, _WRITABLE_BLOCKS, matrix(float32, writable=True))
def _raise_ceilings(packed, block_ceilings, group_ceilings):  # type: ignore[no-untyped-def]
    for block in range(len(packed)):
        group, number = block // GROUP_BLOCKS, block % GROUP_BLOCKS
        for component in range(packed.shape[1]):
            highest = np.float32(0.0)
            for lane in range(BLOCK_ITEMS):
                highest = max(highest, packed[block, component, lane])
            block_ceilings[group, component, number] = highest
            group_ceilings[component, group] = max(group_ceilings[component, group], highest)
