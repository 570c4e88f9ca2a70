"""Vector instructions for sixteen rows at a time, which numba's own loops do not become.

An array of shape (n, 16) holds one number of each row in a line, its lanes. Written in LLVM's own terms, as in
``vector_sum``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from timbral.models.kernels.lane_values import Lanes
from timbral.models.kernels.vector_sum import LANES

__all__ = [
    "FLAT", "LANES", "LEAST_SCALE", "ROUNDING", "TOGETHER", "Own", "State", "add_product", "add_products", "best_steps",
    "entry_sums", "gather", "move_entries", "start_slopes",
]  # fmt: skip

_INT32, _INT64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
TOGETHER = 4

FLAT = 1e-6
"""Share of the curvature below which a factor is taken for parallel to the row's vector: float32 does not tell them
apart."""

LEAST_SCALE = 0.05
"""A step may shrink the rest of a row's vector to this at most."""

ROUNDING = 1e-12
"""Share of a factor's old value up to which a new one is a 0 that was rounded."""


class Own(IntEnum):
    """Lines of float32 that each lane has of its own."""

    WEIGHT = 0
    L2 = 1
    SUMS = 2
    AIM_SUM = 3
    REST_SUM = 4
    STEP = 5
    WEIGHTED_STEP = 6


class State(IntEnum):
    """Lines of float64, where a lane stands."""

    SCALE = 0
    SQUARE = 1
    PULL = 2
    MOVED = 3
    LARGEST = 4
    LEFT = 5
    CONSTANT = 6


def _is(array: Any, ndim: int) -> bool:
    return isinstance(array, types.Array) and (array.dtype, array.ndim, array.layout) == (types.float32, ndim, "C")


def _data(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any, place: int) -> ir.Value:
    return context.make_array(signature.args[place])(context, builder, arguments[place]).data


def _line(builder: ir.IRBuilder, data: ir.Value, number: ir.Value) -> ir.Value:
    """Where line ``number`` of an array of lines is."""
    return builder.bitcast(builder.gep(data, [builder.mul(number, _INT64(LANES))]), _VECTOR.as_pointer())


def _in_all_lanes(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    one_lane = builder.insert_element(undefined, value, _INT32(0))
    return builder.shuffle_vector(one_lane, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))


def _multiply_add(builder: ir.IRBuilder) -> ir.Function:
    return cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{LANES}f32"
    )


def _products(together: int) -> Any:
    def add(_context: Any, out: Any, matrix: Any, _row: Any, _n: Any, factors: Any, _first: Any) -> Any:
        if not (_is(out, 2) and _is(matrix, 2) and _is(factors, 2)):
            return None
        signature = types.void(out, matrix, types.int64, types.int64, factors, types.int64)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            out, matrix, factors = (_data(context, builder, signature, arguments, place) for place in (0, 1, 4))
            _, _, row, n, _, first = arguments
            multiply_add = _multiply_add(builder)
            lanes = [
                builder.load(_line(builder, factors, builder.add(first, _INT64(number))), align=4)
                for number in range(together)
            ]
            starts = [builder.mul(builder.add(row, _INT64(number)), n) for number in range(together)]
            with cgutils.for_range(builder, n, intp=_INT64) as loop:
                place = _line(builder, out, loop.index)
                total = builder.load(place, align=4)
                for start, lane in zip(starts, lanes, strict=True):
                    value = builder.load(builder.gep(matrix, [builder.add(start, loop.index)]))
                    total = builder.call(multiply_add, [_in_all_lanes(builder, value), lane, total])
                builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Of LANES vectors, a matrix: its blocks off the diagonal change places, first those of one element, then of two,
    ..."""
    size = 1
    while size < LANES:
        upper = [lane + (LANES - size if lane & size else 0) for lane in range(LANES)]
        lower = [lane + (LANES if lane & size else size) for lane in range(LANES)]
        for row in range(LANES):
            if row & size == 0:
                one, other = rows[row], rows[row + size]
                for place, lanes in ((row, upper), (row + size, lower)):
                    mask = ir.Constant(ir.VectorType(_INT32, LANES), lanes)
                    rows[place] = builder.shuffle_vector(one, other, mask)
        size *= 2
    return rows


def _gather(
    _context: Any, out: Any, _first: Any, _stride: Any, matrix: Any, _n: Any, _begin: Any, _end: Any, ids: Any,
    _ids_line: Any,
) -> Any:  # fmt: skip
    if not (
        _is(out, 2)
        and _is(matrix, 2)
        and isinstance(ids, types.Array)
        and (ids.dtype, ids.layout) == (types.int64, "C")
    ):
        return None
    number = types.int64
    signature = types.void(out, number, number, matrix, number, number, number, ids, number)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        out, matrix, ids = (_data(context, builder, signature, arguments, place) for place in (0, 3, 7))
        _, first, stride, _, n, begin, end, _, ids_line = arguments
        starts = []
        for lane in range(LANES):
            at = builder.add(builder.mul(ids_line, _INT64(LANES)), _INT64(lane))
            row = builder.load(builder.gep(ids, [at]))
            starts.append(builder.gep(matrix, [builder.add(builder.mul(row, n), begin)]))

        def store(line: ir.Value, column: ir.Value) -> None:
            builder.store(line, _line(builder, out, builder.add(first, builder.mul(column, stride))), align=4)

        width = builder.sub(end, begin)
        n_blocks = builder.udiv(width, _INT64(LANES))
        with cgutils.for_range(builder, n_blocks, intp=_INT64) as loop:
            column = builder.mul(loop.index, _INT64(LANES))
            rows = [
                builder.load(builder.bitcast(builder.gep(start, [column]), _VECTOR.as_pointer()), align=4)
                for start in starts
            ]
            for number, line in enumerate(_transposed(builder, rows)):
                store(line, builder.add(column, _INT64(number)))
        rest = builder.mul(n_blocks, _INT64(LANES))
        with cgutils.for_range_slice(builder, rest, width, _INT64(1), intp=_INT64) as (column, _):
            line = ir.Constant(_VECTOR, ir.Undefined)
            for lane, start in enumerate(starts):
                line = builder.insert_element(line, builder.load(builder.gep(start, [column])), _INT32(lane))
            store(line, column)
        return context.get_dummy_value()

    return signature, generate


def _start(_context: Any, slope: Any, w: Any, pull: Any, _l1: Any, own: Any, _line_own: Any, _line_out: Any) -> Any:
    if not (_is(slope, 2) and _is(w, 2) and _is(pull, 1) and _is(own, 2)):
        return None
    signature = types.void(slope, w, pull, types.float32, own, types.int64, types.int64)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        slope, w, pull, own = (_data(context, builder, signature, arguments, place) for place in (0, 1, 2, 4))
        n = cgutils.unpack_tuple(builder, context.make_array(signature.args[2])(context, builder, arguments[2]).shape)[
            0
        ]
        multiply_add = _multiply_add(builder)
        weight, l2 = (
            builder.load(_line(builder, own, builder.add(arguments[5], _INT64(number))), align=4) for number in range(2)
        )
        less = _in_all_lanes(builder, builder.fneg(arguments[3]))
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES)) for _ in range(2)]
        with cgutils.for_range(builder, n, intp=_INT64) as loop:
            place = _line(builder, slope, loop.index)
            here = builder.load(_line(builder, w, loop.index), align=4)
            total = builder.call(multiply_add, [weight, builder.load(place, align=4), builder.fmul(l2, here)])
            builder.store(total, place, align=4)
            builder.store(builder.call(multiply_add, [here, total, builder.load(sums[0])]), sums[0])
            value = _in_all_lanes(builder, builder.load(builder.gep(pull, [loop.index])))
            pulled = builder.call(multiply_add, [weight, value, less])
            builder.store(builder.call(multiply_add, [here, pulled, builder.load(sums[1])]), sums[1])
        for number in range(2):
            at = _line(builder, own, builder.add(arguments[6], _INT64(number)))
            builder.store(builder.load(sums[number]), at, align=4)
        return context.get_dummy_value()

    return signature, generate


def _best_steps(
    _context: Any, _f: Any, _pull: Any, _l1: Any, _gram: Any, w: Any, slope: Any, lane32: Any, lane64: Any
) -> Any:
    if not (_is(w, 2) and _is(slope, 2) and _is(lane32, 2) and lane64.dtype == types.float64 and lane64.layout == "C"):
        return None
    signature = types.void(types.int64, types.float32, types.float32, types.float32, w, slope, lane32, lane64)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        w, slope, lane32, lane64 = (_data(context, builder, signature, arguments, place) for place in (4, 5, 6, 7))
        f, pull_f, l1, gram_f = arguments[:4]

        def own(name: Own) -> ir.Value:
            return _line(builder, lane32, _INT64(name))

        def state(name: State) -> ir.Value:
            place = builder.gep(lane64, [_INT64(name * LANES)])
            return builder.bitcast(place, ir.VectorType(ir.DoubleType(), LANES).as_pointer())

        def get(place: ir.Value) -> Lanes:
            return Lanes.load(builder, place)

        weight, l2, scale = get(own(Own.WEIGHT)), get(own(Own.L2)), get(state(State.SCALE))
        square, pull = get(state(State.SQUARE)), get(state(State.PULL))
        slope_place, w_place = _line(builder, slope, f), _line(builder, w, f)
        slope_f = get(slope_place)
        p = scale * (slope_f + get(own(Own.SUMS)))
        b = get(own(Own.AIM_SUM)) + weight * Lanes.all(builder, pull_f) - Lanes.all(builder, l1)
        d = get(own(Own.REST_SUM)) + weight * Lanes.all(builder, gram_f) + l2
        old = scale * get(w_place)
        moves = (get(state(State.LEFT)) > 0.0) & (d > 0.0) & ((old > 0.0) | (p < b))
        d = moves.choose(d, 1.0)
        # Both at once; else what is least with w_f = 0; else the factor alone.
        divisor, of_t, of_e = square * d - p * p, pull * d - b * p, square * b - p * pull
        fits = (divisor > square * d * FLAT) & (of_t > divisor * LEAST_SCALE)
        both = fits & (of_t * old + of_e >= 0.0)
        rest, rest_pull = square - old * (p * 2.0 - old * d), pull - old * b
        edge = fits & (rest > square * FLAT) & (rest_pull > rest * LEAST_SCALE)
        divisor = both.choose(divisor, edge.choose(rest, d))
        t = moves.choose(both.choose(of_t, edge.choose(rest_pull, d)) / divisor, 1.0)
        alone = (b - p).max(-(old * d))
        e = moves.choose(both.choose(of_e, edge.choose(-(rest_pull * old), alone)) / divisor, 0.0)
        (t * t * square + e * (t * p * 2.0 + e * d)).store(state(State.SQUARE))
        (t * pull + e * b).store(state(State.PULL))
        scale = scale * t
        scale.store(state(State.SCALE))
        new = t * old + e
        new = (new > old * ROUNDING).choose(new, 0.0)
        largest = get(state(State.LARGEST)).max(new)
        largest.store(state(State.LARGEST))
        moved = e.abs().max((t - 1.0).abs() * largest)
        get(state(State.MOVED)).max(moved).store(state(State.MOVED))
        inverse = Lanes.all(builder, ir.Constant(ir.DoubleType(), 1.0)) / scale
        (new * inverse).store(w_place)
        step = e * inverse
        step.store(own(Own.STEP))
        (step * weight).store(own(Own.WEIGHTED_STEP))
        (slope_f + step * l2).store(slope_place)
        return context.get_dummy_value()

    return signature, generate


best_steps: Any = intrinsic(_best_steps)
"""``best_steps(f, pull_f, l1, gram_ff, w, slope, lane32, lane64)``: in each lane that is not done, w ← t·w + e·(factor
f).

t and e are those of ``coordinate_descent._best_step``; the sums that they change are taken along.
"""

gather: Any = intrinsic(_gather)
"""``gather(out, first, stride, matrix, n, begin, end, ids, line)``: line first + (q − begin)·stride of ``out`` =
matrix[ids[line], q] for begin ≤ q < end; ``matrix`` has n columns."""

start_slopes: Any = intrinsic(_start)
"""``start_slopes(slope, w, pull, l1, own, line, line_out)``: slope[q] ← a·slope[q] + λ·w[q], a and λ being lines
``line`` and after of ``own``.

Lines ``line_out`` and after of ``own`` get Σ w·slope and Σ w·(a·pull − l1).
"""

add_product: Any = intrinsic(_products(1))
"""``add_product(out, matrix, row, n, factors, first)``: out[q] += matrix[row, q] · factors[first] for q < n, the
columns of ``matrix``."""

add_products: Any = intrinsic(_products(TOGETHER))
"""The same, summed over ``TOGETHER`` rows of ``matrix`` and as many lines of ``factors``: ``out`` is read and written
but once."""


def _entry_sums(
    _context: Any, entries: Any, _n: Any, lines: Any, _first: Any, _stride: Any, out: Any, _line_out: Any
) -> Any:
    """For each lane, lines ``line_out`` and on of ``out`` = Σᵢ y·x, Σᵢ aim·x and Σᵢ rest·x².

    ``entries`` has lines (y, aim, rest) of each of ``n`` entries; x is line ``first + i·stride`` of ``lines``.
    """
    if not (_is(entries, 2) and _is(lines, 2) and _is(out, 2)):
        return None
    signature = types.void(entries, types.int64, lines, types.int64, types.int64, out, types.int64)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        entries, lines, out = (_data(context, builder, signature, arguments, place) for place in (0, 2, 5))
        _, n, _, first, stride, _, at_line = arguments
        multiply_add = _multiply_add(builder)
        zeros = ir.Constant(_VECTOR, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(3)]
        with cgutils.for_range(builder, n, intp=_INT64) as loop:
            at = builder.mul(loop.index, _INT64(3))
            y, aim, rest = (
                builder.load(_line(builder, entries, builder.add(at, _INT64(number))), align=4) for number in range(3)
            )
            x = builder.load(_line(builder, lines, builder.add(first, builder.mul(loop.index, stride))), align=4)
            builder.store(builder.call(multiply_add, [y, x, builder.load(sums[0])]), sums[0])
            builder.store(builder.call(multiply_add, [aim, x, builder.load(sums[1])]), sums[1])
            builder.store(builder.call(multiply_add, [builder.fmul(rest, x), x, builder.load(sums[2])]), sums[2])
        for number in range(3):
            builder.store(
                builder.load(sums[number]), _line(builder, out, builder.add(at_line, _INT64(number))), align=4
            )
        return context.get_dummy_value()

    return signature, generate


def _move_entries(
    _context: Any, entries: Any, _n: Any, lines: Any, _first: Any, _stride: Any, step: Any, _step_line: Any
) -> Any:
    """For each lane and entry, y += step · rest · x, with ``step`` a line of its own; see ``entry_sums``."""
    if not (_is(entries, 2) and _is(lines, 2) and _is(step, 2)):
        return None
    signature = types.void(entries, types.int64, lines, types.int64, types.int64, step, types.int64)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        entries, lines, steps = (_data(context, builder, signature, arguments, place) for place in (0, 2, 5))
        _, n, _, first, stride, _, step_line = arguments
        multiply_add = _multiply_add(builder)
        step = builder.load(_line(builder, steps, step_line), align=4)
        with cgutils.for_range(builder, n, intp=_INT64) as loop:
            at = builder.mul(loop.index, _INT64(3))
            place = _line(builder, entries, at)
            rest = builder.load(_line(builder, entries, builder.add(at, _INT64(2))), align=4)
            x = builder.load(_line(builder, lines, builder.add(first, builder.mul(loop.index, stride))), align=4)
            moved = builder.call(multiply_add, [builder.fmul(step, rest), x, builder.load(place, align=4)])
            builder.store(moved, place, align=4)
        return context.get_dummy_value()

    return signature, generate


entry_sums: Any = intrinsic(_entry_sums)
move_entries: Any = intrinsic(_move_entries)
