"""Item factors rearranged so that a search for the best items can pass over most of them.

Three bounds say what no item can score for a user, the first two for a whole block of items:

- Factors are not negative, so none scores higher than the block's *ceiling* does, the largest value of each component
  within the block. That is low where many factors are 0.
- Where none is, all items point much the same way, and a score is the product of what user and item have *along* the
  mean direction, plus that of what they have *across* it, which is at most the product of two lengths
  (Cauchy–Schwarz). So a block needs its largest length either way.
- An item's part across the mean direction is held in *codes* of a byte, and how far they are off. The product of codes
  is nearly that of what they stand for; by how little, the same inequality says.

Items are put beside items as long across and along. 16 of them make a block, 32 blocks a group with bounds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int32, types, uint8

from timbral.errors import DataError, ParameterError
from timbral.models.kernels.byte_sums import CODE_MIDDLE, QUAD
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.vector_sum import LANES, aligned_zeros
from timbral.models.search.index_check import check_order, check_shapes
from timbral.models.search.user_codes import ROOM, SMALLEST_STEP, code_of, step_of

__all__ = ["BLOCK_ITEMS", "GROUP_BLOCKS", "ItemIndex"]

BLOCK_ITEMS = LANES
GROUP_BLOCKS = 32
GROUP_ITEMS = BLOCK_ITEMS * GROUP_BLOCKS

CHECKED_BLOCKS: Final = 64
LEVELS_OF_AN_OCTAVE: Final = 32
PARTS: Final = (
    "codes", "steps", "item_of", "block_ceilings", "group_ceilings", "direction", "block_lengths", "group_lengths",
)  # fmt: skip

_WRITABLE_BLOCKS, _WRITABLE_CODES = types.Array(float32, 3, "C"), types.Array(uint8, 3, "C")


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """Of item factors, less than half as large as they are. All arrays are read-only.

    ``shape`` is the factors' own, (n_components, n_items); ``codes`` (n_groups · 32, n_components / 4 rounded up, 64)
    uint8: what the items of a block have across ``direction``, 128 for nothing, byte 4·i + j of row q that of item i in
    component 4·q + j; ``steps`` (n_groups · 32, 4, 16) float32: the items' lengths along ``direction`` and across it,
    the lengths of what their codes are off by, and what a step of the codes stands for; ``item_of`` (n_groups · 512,)
    int32: the item in each place, −1 where there is none; ``block_ceilings`` (n_groups, n_components, 32) and
    ``group_ceilings`` (n_components, n_groups and zeros up to a multiple of 16) float32; ``direction`` (n_components,)
    float64: the items' mean, of length 1 or 0; ``block_lengths`` (n_groups, 2, 32) and ``group_lengths`` (2, n_groups
    and zeros up to a multiple of 16) float32: the largest length along it and across it. No file has ``place_of``
    (n_items,) int32, the place of each item, and ``item_lengths`` (n_items, 2) float32, its block's lengths.
    """

    shape: tuple[int, int]
    codes: npt.NDArray[np.uint8]
    steps: npt.NDArray[np.float32]
    item_of: npt.NDArray[np.int32]
    block_ceilings: npt.NDArray[np.float32]
    group_ceilings: npt.NDArray[np.float32]
    direction: npt.NDArray[np.float64]
    block_lengths: npt.NDArray[np.float32]
    group_lengths: npt.NDArray[np.float32]
    place_of: npt.NDArray[np.int32]
    item_lengths: npt.NDArray[np.float32]

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
        direction = item_rows.mean(axis=0, dtype=np.float64) if n_items else np.zeros(n_components)
        direction /= np.linalg.norm(direction) or 1.0
        lengths = np.empty((2, n_items), np.float32)
        _split(item_rows, direction, lengths)
        item_of = np.full(n_groups * GROUP_ITEMS, -1, np.int32)
        level = np.floor(np.log2(np.maximum(lengths[1], np.float32(1e-30))) * LEVELS_OF_AN_OCTAVE)
        item_of[:n_items] = np.lexsort((-lengths[0], -level))
        padded = np.zeros((2, n_groups * GROUP_ITEMS), np.float32)
        padded[:, :n_items] = lengths[:, item_of[:n_items]]
        block_lengths = np.ascontiguousarray(
            padded.reshape(2, n_groups, GROUP_BLOCKS, BLOCK_ITEMS).max(3).swapaxes(0, 1)
        )
        group_lengths = aligned_zeros((2, -(-n_groups // LANES) * LANES))
        group_lengths[:, :n_groups] = block_lengths.max(2, initial=0.0).T
        codes = aligned_zeros((n_groups * GROUP_BLOCKS, -(-n_components // QUAD), LANES)).view(np.uint8)
        steps = aligned_zeros((n_groups * GROUP_BLOCKS, 4, BLOCK_ITEMS))
        block_ceilings = aligned_zeros((n_groups, n_components, GROUP_BLOCKS))
        group_ceilings = aligned_zeros((n_components, -(-n_groups // LANES) * LANES))
        _encode(item_rows, item_of, direction, lengths, codes, steps)
        _add_ceilings(item_rows, item_of, block_ceilings, group_ceilings)
        arrays: list[npt.NDArray[Any]] = [codes, steps, item_of, block_ceilings, group_ceilings]
        arrays += [direction, block_lengths, group_lengths, *_by_item(item_of, block_lengths, n_items)]
        for array in arrays:
            array.flags.writeable = False
        return cls((n_components, n_items), *arrays)

    @property
    def parts(self) -> tuple[npt.NDArray[Any], ...]:
        """What ``search_index`` searches, and a file has."""
        return tuple(getattr(self, name) for name in PARTS)

    @property
    def touched_parts(self) -> tuple[npt.NDArray[Any], ...]:
        """What ``offer_touched`` looks at."""
        items = self.group_lengths, self.place_of, self.item_lengths
        return self.codes, self.steps, self.item_of, self.direction, *items

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
        arrays = [*(tensors[f"{prefix}{name}"] for name in PARTS), np.empty(0, np.int32), np.empty((0, 2), np.float32)]
        made = cls((width, n_items), *arrays)  # what is by item follows when the rest is known to fit
        n_groups = -(-n_items // GROUP_ITEMS)
        shapes = {
            "codes": (n_groups * GROUP_BLOCKS, -(-width // QUAD), LANES * QUAD),
            "steps": (n_groups * GROUP_BLOCKS, 4, BLOCK_ITEMS),
            "item_of": (n_groups * GROUP_ITEMS,),
            "block_ceilings": (n_groups, width, GROUP_BLOCKS),
            "group_ceilings": (width, -(-n_groups // LANES) * LANES),
            "direction": (width,),
            "block_lengths": (n_groups, 2, GROUP_BLOCKS),
            "group_lengths": (2, -(-n_groups // LANES) * LANES),
        }
        dtypes: dict[str, Any] = {"codes": np.uint8, "item_of": np.int32, "direction": np.float64}
        check_shapes("item index", made, shapes, dtypes)
        check_order("item index", made.item_of, n_items)
        for block in np.unique(np.linspace(0, -(-n_items // BLOCK_ITEMS) - 1, CHECKED_BLOCKS).astype(int)):
            items = made.item_of[block * BLOCK_ITEMS : (block + 1) * BLOCK_ITEMS] if block >= 0 else made.item_of[:0]
            items = items[items >= 0]
            rows = vectors[items] if recency is None else np.hstack([vectors[items], recency[items, None]])
            if not len(items):
                continue
            place = block // GROUP_BLOCKS, slice(None), block % GROUP_BLOCKS
            if not (rows <= made.block_ceilings[place]).all() or not made._is_coded(rows.astype(np.float64), block):
                raise DataError("its item index is another model's")
        place_of, item_lengths = _by_item(made.item_of, made.block_lengths, n_items)
        return replace(made, place_of=place_of, item_lengths=item_lengths)

    def _is_coded(self, rows: npt.NDArray[np.float64], block: int) -> bool:
        """Whether a block's codes stand for ``rows``, its items, as nearly as it says, and its lengths are no less."""
        along = rows @ self.direction
        across = rows - along[:, None] * self.direction
        steps = self.steps[block].T[: len(rows)].astype(np.float64)
        codes = self.codes[block].reshape(-1, BLOCK_ITEMS, QUAD).swapaxes(0, 1).reshape(BLOCK_ITEMS, -1)
        coded = (codes[: len(rows), : rows.shape[1]].astype(np.float64) - CODE_MIDDLE) * steps[:, 3:]
        found = np.stack((along, np.linalg.norm(across, axis=1), np.linalg.norm(across - coded, axis=1)), axis=1)
        largest = self.block_lengths[block // GROUP_BLOCKS, :, block % GROUP_BLOCKS]
        rounded = 1e-9 * np.linalg.norm(rows, axis=1, keepdims=True)  # these sums are of another order
        return bool((found <= steps[:, :3] + rounded + SMALLEST_STEP).all() and (steps[:, :2] <= largest).all())


def _by_item(
    item_of: npt.NDArray[np.int32], block_lengths: npt.NDArray[np.float32], n_items: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Each item's place, (n_items,), and its block's lengths, (n_items, 2)."""
    by_block = np.ascontiguousarray(block_lengths.swapaxes(1, 2).reshape(-1, 2))
    place_of = np.empty(n_items, np.int32)
    place_of[item_of[:n_items]] = np.arange(n_items, dtype=np.int32)
    lengths = by_block[place_of // BLOCK_ITEMS]
    place_of.flags.writeable = lengths.flags.writeable = False
    return place_of, lengths


@kernel(matrix(float32), vector(float64), matrix(float32, writable=True))
def _split(rows, direction, lengths):  # type: ignore[no-untyped-def]  # numba types it
    """Each row's length along ``direction`` and across it."""
    for row in range(len(rows)):
        along, square = 0.0, 0.0
        for component in range(len(direction)):
            along += rows[row, component] * direction[component]
        for component in range(len(direction)):
            square += (rows[row, component] - along * direction[component]) ** 2
        lengths[0, row] = along * ROOM
        lengths[1, row] = np.sqrt(square) * ROOM


@kernel(
    item_rows=matrix(float32),  # (n_items, n_components)
    item_of=vector(int32),  # as ItemIndex has it
    direction=vector(float64),  # as ItemIndex has it
    lengths=matrix(float32),  # (2, n_items): along it and across it
    codes=_WRITABLE_CODES,  # out, as ItemIndex has them; all 0 before, as are the steps
    steps=_WRITABLE_BLOCKS,  # out
)
def _encode(item_rows, item_of, direction, lengths, codes, steps):  # type: ignore[no-untyped-def]  # numba types it
    across = np.empty(len(direction))
    for place in range(len(item_of)):
        item, block, lane = item_of[place], place // BLOCK_ITEMS, place % BLOCK_ITEMS
        if item < 0:
            continue
        along, largest, missed = 0.0, 0.0, 0.0
        for component in range(len(direction)):
            along += item_rows[item, component] * direction[component]
        for component in range(len(direction)):
            across[component] = item_rows[item, component] - along * direction[component]
            largest = max(largest, abs(across[component]))
        step = step_of(largest)
        for component in range(len(direction)):
            code = code_of(across[component], step)
            codes[block, component // QUAD, lane * QUAD + component % QUAD] = CODE_MIDDLE + code
            missed += (across[component] - code * step) ** 2
        steps[block, 0, lane] = lengths[0, item]
        steps[block, 1, lane] = lengths[1, item]
        steps[block, 2, lane] = np.sqrt(missed) * ROOM
        steps[block, 3, lane] = step


@kernel(
    item_rows=matrix(float32),  # (n_items, n_components)
    item_of=vector(int32),  # as ItemIndex has it
    block_ceilings=_WRITABLE_BLOCKS,  # out, as ItemIndex has them; all 0 before
    group_ceilings=matrix(float32, writable=True),  # out
)
def _add_ceilings(item_rows, item_of, block_ceilings, group_ceilings):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(len(item_of)):
        item, block = item_of[place], place // BLOCK_ITEMS
        group, number = block // GROUP_BLOCKS, block % GROUP_BLOCKS
        if item < 0:
            continue
        for component in range(item_rows.shape[1]):
            value = item_rows[item, component]
            if value > block_ceilings[group, component, number]:
                block_ceilings[group, component, number] = value
                group_ceilings[component, group] = max(group_ceilings[component, group], value)
