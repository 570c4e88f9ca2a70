"""Weighted sums of 64 items' codes of a byte, in 32-bit integers, which numba's own loops do not become.

Like ``timbral.models.kernels.vector_sum`` written in LLVM's own terms, but for one instruction that LLVM makes of
nothing else: ``vpdpbusd`` (AVX-512 VNNI) adds four products in each of sixteen lanes. Where a processor has none, the
same sums take two multiplications of 16-bit numbers. Whole numbers are never rounded: both give the same.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from timbral.models.kernels.vector_sum import LANES, WIDE

__all__ = ["CODE_MIDDLE", "MOST_CODE", "QUAD", "codes_that_reach", "dot_of", "in_all_lanes"]

QUAD: Final = 4
"""Components whose codes stand side by side, those of one item after those of another."""
MOST_CODE: Final = 127
CODE_MIDDLE: Final = 128
"""The code that stands for 0: they are not signed, as the instruction wants it of one side."""

_INT16, _INT32, _INT64, _FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_INT32, LANES), ir.VectorType(_FLOAT, LANES)
_SHORTS = ir.VectorType(_INT16, 2 * LANES)


def _codes_that_reach(
    _context: Any,
    weights: Any,
    _start: Any,
    codes: Any,
    steps: Any,
    _block: Any,
    bounds: Any,
    _threshold: Any,
    out: Any,
) -> Any:
    """out[:64], float32: steps[0]·bounds[0] + … + steps[3]·bounds[3]·(start + Σ weights[c] · code[c]) of each item of
    ``WIDE`` blocks, ``codes[block]`` and on; those that are not less than ``threshold``, as bits (uint64).

    ``weights`` int8 (4 · n_quads,), ``codes`` uint8 (n_blocks, n_quads, 64): byte 4·i + j of a row is item i's code of
    its component j; ``steps`` float32 (n_blocks, 4, 16); ``bounds`` float32 (4,), ``start`` int32; all C-contiguous.
    Nothing is checked.
    """
    expected = (
        (weights, types.int8, 1), (codes, types.uint8, 3), (steps, types.float32, 3), (bounds, types.float32, 1),
        (out, types.float32, 1),
    )  # fmt: skip
    if any((one.dtype, one.ndim, one.layout) != (dtype, ndim, "C") for one, dtype, ndim in expected):
        return None
    return types.uint64(weights, types.int32, codes, steps, types.int64, bounds, types.float32, out), _generate


codes_that_reach: Any = intrinsic(_codes_that_reach)


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
    weights, codes, steps, bounds, out = (
        context.make_array(signature.args[place])(context, builder, arguments[place]) for place in (0, 2, 3, 5, 7)
    )
    _, n_quads, _ = cgutils.unpack_tuple(builder, codes.shape)
    block_bytes = cgutils.unpack_tuple(builder, codes.strides)[0]
    block = arguments[4]
    starts = [
        builder.gep(codes.data, [builder.mul(builder.add(block, _INT64(number)), block_bytes)])
        for number in range(WIDE)
    ]
    begin = in_all_lanes(builder, arguments[1], _INTS)
    sums = [cgutils.alloca_once(builder, _INTS) for _ in range(WIDE)]
    for place in sums:
        builder.store(begin, place)
    add_products = dot_of(context)
    with cgutils.for_range(builder, n_quads, intp=_INT64) as loop:
        weight = builder.gep(weights.data, [builder.mul(loop.index, _INT64(QUAD))])
        weight = builder.load(builder.bitcast(weight, _INT32.as_pointer()), align=1)
        every = in_all_lanes(builder, weight, _INTS)
        offset = builder.mul(loop.index, _INT64(LANES * QUAD))
        for start, place in zip(starts, sums, strict=True):
            row = builder.load(builder.bitcast(builder.gep(start, [offset]), _INTS.as_pointer()), align=4)
            builder.store(add_products(builder, builder.load(place), row, every), place)
    threshold = in_all_lanes(builder, arguments[6], _FLOATS)
    factors = [
        in_all_lanes(builder, builder.load(builder.gep(bounds.data, [_INT64(number)])), _FLOATS) for number in range(4)
    ]
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), f"llvm.fmuladd.v{LANES}f32"
    )
    reached = _INT64(0)
    for number, place in enumerate(sums):
        first = builder.mul(builder.add(block, _INT64(number)), _INT64(4 * LANES))
        parts = [
            builder.load(
                builder.bitcast(
                    builder.gep(steps.data, [builder.add(first, _INT64(part * LANES))]), _FLOATS.as_pointer()
                ),
                align=4,
            )
            for part in range(4)
        ]
        total = builder.fmul(builder.fmul(parts[3], factors[3]), builder.sitofp(builder.load(place), _FLOATS))
        for part, factor in zip(parts[:3], factors[:3], strict=True):
            total = builder.call(multiply_add, [part, factor, total])
        target = builder.gep(out.data, [_INT64(number * LANES)])
        builder.store(total, builder.bitcast(target, _FLOATS.as_pointer()), align=4)
        # "Not less" instead of "at least": what is no number may be anything.
        bits = builder.bitcast(builder.fcmp_unordered(">=", total, threshold), ir.IntType(LANES))
        reached = builder.or_(reached, builder.shl(builder.zext(bits, _INT64), _INT64(number * LANES)))
    return reached


def dot_of(context: Any) -> Any:
    """What adds to a sum, in each of 16 lanes, the products of four unsigned bytes and four signed ones: (builder,
    sums, unsigned, signed)."""
    return _vnni if "+avx512vnni" in context.codegen().magic_tuple()[2] else _in_shorts


def _vnni(builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, weights: ir.Value) -> ir.Value:
    kind = ir.FunctionType(_INTS, [_INTS] * 3)
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [total, codes, weights])


def _in_shorts(builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, weights: ir.Value) -> ir.Value:
    eight = ir.Constant(_SHORTS, [8] * _SHORTS.count)
    codes, weights = builder.bitcast(codes, _SHORTS), builder.bitcast(weights, _SHORTS)
    low = builder.lshr(builder.shl(codes, eight), eight), builder.ashr(builder.shl(weights, eight), eight)
    high = builder.lshr(codes, eight), builder.ashr(weights, eight)
    wide = ir.VectorType(_INT32, _SHORTS.count)
    for left, right in (low, high):
        products = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        for first in (0, 1):
            places = ir.Constant(_INTS, list(range(first, _SHORTS.count, 2)))
            total = builder.add(total, builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), places))
    return total


def in_all_lanes(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """A vector whose lanes are all ``value``."""
    undefined = ir.Constant(kind, ir.Undefined)
    one_lane = builder.insert_element(undefined, value, _INT32(0))
    return builder.shuffle_vector(one_lane, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))
