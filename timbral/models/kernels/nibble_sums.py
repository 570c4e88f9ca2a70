"""Weighted sums of 64 items' four-bit codes, in 32-bit integers, which numba's own loops do not become.

Like ``timbral.models.kernels.byte_sums``, for a scan whose cost is the memory that it reads: half a byte a value.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from timbral.models.kernels import byte_sums
from timbral.models.kernels.byte_sums import QUAD
from timbral.models.kernels.prefetch import CACHE_LINE, prefetch
from timbral.models.kernels.vector_sum import LANES

__all__ = ["CODED_ITEMS", "CODE_STEPS", "HALVES", "MOST", "lanes_that_reach"]

HALVES: Final = 2
CODED_ITEMS: Final = HALVES * 2 * LANES
"""Items whose codes stand side by side: of a quad of components, the byte 64·h + 4·i + j has component j of the items
32·h + i, in its lower bits, and 32·h + 16 + i."""
CODE_STEPS: Final = 15
"""The largest code; the smallest is 0."""
MOST: Final = 2**31 - 1
"""Codes times weights must not add up to more, on either side of 0."""
AHEAD: Final = 8192
"""Bytes from what is summed to what is asked for: by itself a processor looks ahead to the end of a page at most."""

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_INTS = ir.VectorType(_INT32, LANES)
_LOW_BITS = 0x0F0F0F0F


def _lanes_that_reach(_context: Any, weights: Any, codes: Any, _block: Any, _least: Any) -> Any:
    """The items of ``codes[block]`` whose Σ weights[c] · code[c] is ``least`` or more, as bits (int64).

    ``weights`` int8 (4 · n_quads,), ``codes`` uint8 (n_blocks, n_quads, 128), both C-contiguous; ``least`` fits into 32
    bits. Nothing is checked.
    """
    if (weights.dtype, weights.ndim, weights.layout) != (types.int8, 1, "C"):
        return None
    if (codes.dtype, codes.ndim, codes.layout) != (types.uint8, 3, "C"):
        return None
    return types.int64(weights, codes, types.int64, types.int64), _generate


lanes_that_reach: Any = intrinsic(_lanes_that_reach)


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
    weights = context.make_array(signature.args[0])(context, builder, arguments[0])
    codes = context.make_array(signature.args[1])(context, builder, arguments[1])
    _, n_quads, _ = cgutils.unpack_tuple(builder, codes.shape)
    block_bytes = cgutils.unpack_tuple(builder, codes.strides)[0]
    start = builder.gep(codes.data, [builder.mul(arguments[2], block_bytes)])
    sums = [cgutils.alloca_once(builder, _INTS) for _ in range(2 * HALVES)]
    for place in sums:
        builder.store(ir.Constant(_INTS, [0] * LANES), place)
    low_bits, four = ir.Constant(_INTS, [_LOW_BITS] * LANES), ir.Constant(_INTS, [4] * LANES)
    add_products = byte_sums.dot_of(context)
    with cgutils.for_range(builder, n_quads, intp=_INT64) as loop:
        weight = builder.gep(weights.data, [builder.mul(loop.index, _INT64(QUAD))])
        weight = builder.load(builder.bitcast(weight, _INT32.as_pointer()), align=1)
        every = byte_sums.in_all_lanes(builder, weight, _INTS)
        for half in range(HALVES):
            at = builder.add(builder.mul(loop.index, _INT64(HALVES * LANES * QUAD)), _INT64(half * LANES * QUAD))
            for offset in range(0, LANES * QUAD, CACHE_LINE):
                prefetch(builder, builder.gep(start, [builder.add(at, _INT64(AHEAD + offset))]))
            pairs = builder.load(builder.bitcast(builder.gep(start, [at]), _INTS.as_pointer()), align=4)
            for place, part in (
                (sums[2 * half], builder.and_(pairs, low_bits)),
                (sums[2 * half + 1], builder.and_(builder.lshr(pairs, four), low_bits)),
            ):
                builder.store(add_products(builder, builder.load(place), part, every), place)
    least = byte_sums.in_all_lanes(builder, builder.trunc(arguments[3], _INT32), _INTS)
    reached = _INT64(0)
    for number, place in enumerate(sums):
        bits = builder.bitcast(builder.icmp_signed(">=", builder.load(place), least), ir.IntType(LANES))
        reached = builder.or_(reached, builder.shl(builder.zext(bits, _INT64), _INT64(number * LANES)))
    return reached
