"""What a search knows of a user before it looks at items: lengths along and across the items' mean direction, and what
the vector has across it, in codes of a byte. Items have the same.

See ``timbral.models.search.item_index`` for what it is compared with.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from timbral.models.kernels.byte_sums import CODE_MIDDLE, MOST_CODE

__all__ = ["ROOM", "SMALLEST_STEP", "code_of", "code_user", "split_user", "step_of"]

ROOM: Final = 1.0 + 1e-5
"""Lengths are made longer by this, for all that is rounded where bounds are made of them."""
SMALLEST_STEP: Final = np.float32(1e-30)
"""Of codes. What is so short that it would take a smaller one has none, and counts as its error."""

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def step_of(largest):  # type: ignore[no-untyped-def]  # numba types it
    """What a step of the codes stands for where ``largest`` is the largest value without its sign."""
    step = np.float32(largest / MOST_CODE)
    return np.float64(step) if step >= SMALLEST_STEP else 0.0


@_jit
def code_of(value, step):  # type: ignore[no-untyped-def]  # numba types it
    return min(max(np.int64(np.rint(value / step)), -MOST_CODE), MOST_CODE) if step > 0 else 0


@_jit
def split_user(user, has_recency, direction):  # type: ignore[no-untyped-def]  # numba types it
    """What a user's vector, with 1 for the recency where there is one, has along ``direction`` and across it, float32
    and no less than that."""
    along, square = _along(user, has_recency, direction), 0.0
    for component in range(len(direction)):
        square += _across(user, component, along, direction) ** 2
    # The room for what is rounded away where next to nothing is left across.
    return np.float32(along * ROOM), np.float32(np.sqrt(square) * ROOM + 1e-7 * along)


@_jit
def code_user(user, has_recency, direction, codes, bounds):  # type: ignore[no-untyped-def]  # numba types it
    """Code what the user's vector has across ``direction`` as ``codes``, int8, all 0 before; ``bounds``, float32 (4,),
    gets what ``codes_that_reach`` multiplies an item's ``steps`` by.

    Returns what its sum must start from.
    """
    along, largest, square = _along(user, has_recency, direction), 0.0, 0.0
    for component in range(len(direction)):
        value = _across(user, component, along, direction)
        largest = max(largest, abs(value))
        square += value * value
    step = step_of(largest)
    total, coded, missed = 0, 0.0, 0.0
    for component in range(len(direction)):
        value = _across(user, component, along, direction)
        code = code_of(value, step)
        codes[component] = code
        total += code
        coded += (code * step) ** 2
        missed += (value - code * step) ** 2
    bounds[0] = along * ROOM
    bounds[1] = np.sqrt(missed) * ROOM + 1e-5 * np.sqrt(square) + 1e-7 * along
    bounds[2] = np.sqrt(coded) * ROOM
    bounds[3] = step
    return np.int32(-CODE_MIDDLE * total)


@_jit
def _along(user, has_recency, direction):  # type: ignore[no-untyped-def]  # numba types it
    along = 0.0
    for component in range(len(user)):
        along += user[component] * direction[component]
    return along + direction[len(user)] if has_recency else along


@_jit
def _across(user, component, along, direction):  # type: ignore[no-untyped-def]  # numba types it
    value = np.float64(user[component]) if component < len(user) else 1.0
    return value - along * direction[component]
