"""Weighted sums of 64 items' four-bit codes, in 16-bit integers, which numba's own loops do not become.

Like ``timbral.models.kernels.vector_sum`` written in LLVM's own terms, for a scan whose cost is the memory that it
reads: half a byte a value.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from timbral.models.kernels.prefetch import CACHE_LINE, prefetch

__all__ = ["CODED_ITEMS", "CODE_STEPS", "MOST", "ROWS", "lanes_that_reach"]

CODED_ITEMS = 64
"""Items whose codes stand side by side: in byte b those of the items b and 32 + b. Half of them fill a register of
AVX-512."""
CODE_STEPS = 15
"""The largest code; the smallest is 0."""
MOST = 2**15 - 1
"""Codes times weights must not add up to more, on either side of 0."""
ROWS = 4
"""Components at a time: there must be a multiple of it. Together they are two cache lines."""
AHEAD = 4096
"""Bytes from what is summed to what is asked for. On a million items the scan takes two thirds of the time with it."""

_INT8, _INT16, _INT64 = ir.IntType(8), ir.IntType(16), ir.IntType(64)
_LANES = CODED_ITEMS // 2
_BYTES, _SHORTS = ir.VectorType(_INT8, _LANES), ir.VectorType(_INT16, _LANES)


def _lanes_that_reach(_context: Any, weights: Any, codes: Any, _block: Any, _least: Any) -> Any:
    """The items of ``codes[block]`` whose Σ weights[c] · code[c] is ``least`` or more, as bits.

    ``weights`` int16 (n_components,), ``codes`` uint8 (n_blocks, n_components, 32), both C-contiguous, with
    n_components a multiple of ``ROWS``; ``least`` fits into 16 bits. Nothing is checked.
    """
    if (weights.dtype, weights.ndim, weights.layout) != (types.int16, 1, "C"):
        return None
    if (codes.dtype, codes.ndim, codes.layout) != (types.uint8, 3, "C"):
        return None
    return types.int64(weights, codes, types.int64, types.int64), _generate


lanes_that_reach: Any = intrinsic(_lanes_that_reach)


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
    weights = context.make_array(signature.args[0])(context, builder, arguments[0])
    codes = context.make_array(signature.args[1])(context, builder, arguments[1])
    n_components = cgutils.unpack_tuple(builder, weights.shape)[0]
    block_bytes = cgutils.unpack_tuple(builder, codes.strides)[0]
    start = builder.gep(codes.data, [builder.mul(arguments[2], block_bytes)])
    sums = [cgutils.alloca_once(builder, _SHORTS) for _ in range(2)]
    for place in sums:
        builder.store(ir.Constant(_SHORTS, [0] * _LANES), place)
    low_bits, four = ir.Constant(_SHORTS, [CODE_STEPS] * _LANES), ir.Constant(_SHORTS, [4] * _LANES)
    with cgutils.for_range_slice(builder, _INT64(0), n_components, _INT64(ROWS), _INT64) as (first, _):
        for offset in range(0, ROWS * _LANES, CACHE_LINE):
            ahead = builder.add(builder.mul(first, _INT64(_LANES)), _INT64(AHEAD + offset))
            prefetch(builder, builder.gep(start, [ahead]))
        for number in range(ROWS):
            at = builder.add(first, _INT64(number))
            weight = _in_all_lanes(builder, builder.load(builder.gep(weights.data, [at])))
            row = builder.gep(start, [builder.mul(at, _INT64(_LANES))])
            pairs = builder.zext(builder.load(builder.bitcast(row, _BYTES.as_pointer()), align=1), _SHORTS)
            for place, part in zip(sums, (builder.and_(pairs, low_bits), builder.lshr(pairs, four)), strict=True):
                builder.store(builder.add(builder.load(place), builder.mul(weight, part)), place)
    least = _in_all_lanes(builder, builder.trunc(arguments[3], _INT16))
    low, high = (
        builder.zext(builder.bitcast(builder.icmp_signed(">=", builder.load(place), least), ir.IntType(_LANES)), _INT64)
        for place in sums
    )
    return builder.or_(low, builder.shl(high, _INT64(_LANES)))


def _in_all_lanes(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_SHORTS, ir.Undefined)
    one_lane = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one_lane, undefined, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES))
