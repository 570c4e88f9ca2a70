"""Bits of a word, one after the other, at what the processor takes for it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["count_bits", "lowest_bit"]


def _lowest_bit(_context: Any, word: Any) -> Any:
    """The number of the lowest bit of ``word`` (uint64, not 0) that is 1."""
    if word != types.uint64:
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(word), generate


lowest_bit: Any = intrinsic(_lowest_bit)


def _count_bits(_context: Any, word: Any) -> Any:
    """How many bits of ``word`` (int64) are 1."""
    if word != types.int64:
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        return builder.ctpop(arguments[0])

    return types.int64(word), generate


count_bits: Any = intrinsic(_count_bits)
