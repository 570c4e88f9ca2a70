"""Memory that is asked for before it is needed, so that a kernel need not wait for it.

A processor foresees what is read in order only within a page of 4 KB, and nothing of what is read here and there.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["CACHE_LINE", "prefetch", "prefetch_row"]

CACHE_LINE = 64

_INT8, _INT32, _INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
READ, KEEP, DATA = _INT32(0), _INT32(3), _INT32(1)


def prefetch(builder: ir.IRBuilder, pointer: ir.Value) -> None:
    """The cache line of ``pointer`` (to bytes), which may point anywhere."""
    kind = ir.FunctionType(ir.VoidType(), [_INT8.as_pointer(), _INT32, _INT32, _INT32])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [pointer, READ, KEEP, DATA])


def _prefetch_row(_context: Any, rows: Any, _row: Any) -> Any:
    """Row ``row`` of a C-contiguous matrix."""
    if not isinstance(rows, types.Array) or (rows.ndim, rows.layout) != (2, "C"):
        return None

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        rows = context.make_array(signature.args[0])(context, builder, arguments[0])
        row_bytes = cgutils.unpack_tuple(builder, rows.strides)[0]
        start = builder.bitcast(rows.data, _INT8.as_pointer())
        start = builder.gep(start, [builder.mul(arguments[1], row_bytes)])
        with cgutils.for_range_slice(builder, _INT64(0), row_bytes, _INT64(CACHE_LINE), _INT64) as (offset, _):
            prefetch(builder, builder.gep(start, [offset]))
        return context.get_dummy_value()

    return types.none(rows, types.int64), generate


prefetch_row: Any = intrinsic(_prefetch_row)
