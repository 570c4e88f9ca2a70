"""One vector instruction's worth of weighted sums, which numba's own loops do not become.

``weighted_sums`` is written in LLVM's own terms, sixteen float32 lanes, and LLVM makes of them what the machine has:
one register with AVX-512, two with AVX2, four with NEON. Against the same loop in Python, compiled by numba, it was
measured 10 times as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "UNROLLED", "WIDE", "aligned_zeros", "weighted_sums", "weighted_sums_of_blocks"]

LANES = 16
WIDE = 4
UNROLLED = 4
"""Sums that run side by side, so that an addition need not wait for the one before it."""

_INT32, _INT64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)


def aligned_zeros(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A float32 array of zeros that starts at a cache line: a vector read from it touches one line, not two."""
    size = int(np.prod(shape))
    padded = np.zeros(size + LANES, np.float32)
    first = -(padded.ctypes.data // padded.itemsize) % LANES
    return padded[first : first + size].reshape(shape)


def _weighted_sums(
    _context: Any, weights: Any, components: Any, _n_weights: Any, matrix: Any, _column: Any, _threshold: Any, out: Any
) -> Any:
    """out[:16] = Σₚ weights[p] · matrix[components[p], column : column + 16]; the lanes that reach ``threshold``, as
    bits.

    ``weights`` float32 and ``components`` int64, of which the first ``n_weights`` count, a multiple of ``UNROLLED``;
    ``matrix`` float32, C-contiguous, 2-D. Nothing is checked.
    """
    if not _are_arrays(
        (weights, types.float32, 1), (components, types.int64, 1), (matrix, types.float32, 2), (out, types.float32, 1)
    ):
        return None
    signature = types.int64(weights, components, types.int64, matrix, types.int64, types.float32, out)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        matrix = context.make_array(signature.args[3])(context, builder, arguments[3])
        start = builder.gep(matrix.data, [arguments[4]])
        row_size = builder.sdiv(cgutils.unpack_tuple(builder, matrix.strides)[0], _INT64(4))
        return _generate(context, builder, signature, arguments, [start], row_size)

    return signature, generate


def _weighted_sums_of_blocks(
    _context: Any, weights: Any, components: Any, _n_weights: Any, blocks: Any, _first: Any, _threshold: Any, out: Any
) -> Any:
    """``weighted_sums`` of ``WIDE`` blocks in a row, ``blocks[first]`` and on, into out[:64]: loads each weight but
    once.

    ``blocks`` float32, C-contiguous, of shape (n_blocks, n_components, 16).
    """
    if not _are_arrays(
        (weights, types.float32, 1), (components, types.int64, 1), (blocks, types.float32, 3), (out, types.float32, 1)
    ):
        return None
    signature = types.int64(weights, components, types.int64, blocks, types.int64, types.float32, out)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        blocks = context.make_array(signature.args[3])(context, builder, arguments[3])
        block_size = builder.sdiv(cgutils.unpack_tuple(builder, blocks.strides)[0], _INT64(4))
        starts = [
            builder.gep(blocks.data, [builder.mul(builder.add(arguments[4], _INT64(number)), block_size)])
            for number in range(WIDE)
        ]
        return _generate(context, builder, signature, arguments, starts, _INT64(LANES))

    return signature, generate


weighted_sums: Any = intrinsic(_weighted_sums)
weighted_sums_of_blocks: Any = intrinsic(_weighted_sums_of_blocks)


def _are_arrays(*arrays: tuple[Any, types.Type, int]) -> bool:
    return all(
        isinstance(array, types.Array) and (array.dtype, array.ndim, array.layout) == (dtype, ndim, "C")
        for array, dtype, ndim in arrays
    )


def _generate(
    context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any, starts: list[ir.Value], row_size: ir.Value
) -> ir.Value:
    """The sums of the vectors that lie ``row_size`` floats apart from each of ``starts`` on."""
    weights, components, out = (
        context.make_array(signature.args[place])(context, builder, arguments[place]) for place in (0, 1, 6)
    )
    threshold = _in_all_lanes(builder, arguments[5])
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    zeros = ir.Constant(_VECTOR, [0.0] * LANES)
    sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in range(UNROLLED)] for _ in starts]
    for place in (place for places in sums for place in places):
        builder.store(zeros, place)
    with cgutils.for_range_slice(builder, _INT64(0), arguments[2], _INT64(UNROLLED), _INT64) as (first, _):
        for number in range(UNROLLED):
            at = builder.add(first, _INT64(number))
            weight = _in_all_lanes(builder, builder.load(builder.gep(weights.data, [at])))
            offset = builder.mul(builder.load(builder.gep(components.data, [at])), row_size)
            for start, places in zip(starts, sums, strict=True):
                row = builder.bitcast(builder.gep(start, [offset]), _VECTOR.as_pointer())
                values = builder.load(row, align=4)
                product = builder.call(multiply_add, [weight, values, builder.load(places[number])])
                builder.store(product, places[number])
    reached = _INT64(0)
    for number, places in enumerate(sums):
        parts = [builder.load(place) for place in places]
        while len(parts) > 1:
            parts = [builder.fadd(left, right) for left, right in zip(parts[::2], parts[1::2], strict=True)]
        target = builder.gep(out.data, [_INT64(number * LANES)])
        builder.store(parts[0], builder.bitcast(target, _VECTOR.as_pointer()), align=4)
        bits = builder.bitcast(builder.fcmp_unordered(">=", parts[0], threshold), ir.IntType(LANES))
        reached = builder.or_(reached, builder.shl(builder.zext(bits, _INT64), _INT64(number * LANES)))
    return reached


def _in_all_lanes(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    one_lane = builder.insert_element(undefined, value, _INT32(0))
    return builder.shuffle_vector(one_lane, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))
