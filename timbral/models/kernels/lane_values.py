"""Arithmetic on vectors of LLVM's, written as one writes it: ``Lanes`` are added, compared and chosen from as numbers
are."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from timbral.models.kernels.vector_sum import LANES

__all__ = ["Lanes"]

_FLOATS, _DOUBLES = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)


@dataclass(frozen=True)
class Lanes:
    """LANES doubles, or as many answers to a comparison, while code is generated with ``builder``."""

    builder: ir.IRBuilder
    value: ir.Value

    @classmethod
    def load(cls, builder: ir.IRBuilder, place: ir.Value) -> Lanes:
        """A line of floats or doubles."""
        loaded = builder.load(place, align=4)
        return cls(builder, loaded if loaded.type == _DOUBLES else builder.fpext(loaded, _DOUBLES))

    @classmethod
    def all(cls, builder: ir.IRBuilder, value: ir.Value) -> Lanes:
        """The same float or double in all lanes."""
        if value.type == ir.FloatType():
            value = builder.fpext(value, ir.DoubleType())
        one = builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        where = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return cls(builder, builder.shuffle_vector(one, ir.Constant(_DOUBLES, ir.Undefined), where))

    def store(self, place: ir.Value) -> None:
        """As floats or doubles, as ``place`` has it."""
        value = self.builder.fptrunc(self.value, _FLOATS) if place.type.pointee == _FLOATS else self.value
        self.builder.store(value, place, align=4)

    def _other(self, other: Lanes | float) -> ir.Value:
        return other.value if isinstance(other, Lanes) else ir.Constant(_DOUBLES, [float(other)] * LANES)

    def _with(self, made: ir.Value) -> Lanes:
        return Lanes(self.builder, made)

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fadd(self.value, self._other(other), flags=("contract",)))

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fsub(self.value, self._other(other), flags=("contract",)))

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fmul(self.value, self._other(other), flags=("contract",)))

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fdiv(self.value, self._other(other)))

    def __neg__(self) -> Lanes:
        return self._with(self.builder.fneg(self.value))

    def __and__(self, other: Lanes) -> Lanes:
        return self._with(self.builder.and_(self.value, other.value))

    def __or__(self, other: Lanes) -> Lanes:
        return self._with(self.builder.or_(self.value, other.value))

    def __gt__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fcmp_ordered(">", self.value, self._other(other)))

    def __lt__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fcmp_ordered("<", self.value, self._other(other)))

    def __ge__(self, other: Lanes | float) -> Lanes:
        return self._with(self.builder.fcmp_ordered(">=", self.value, self._other(other)))

    def choose(self, yes: Lanes, no: Lanes | float) -> Lanes:
        """``yes`` in the lanes where this comparison holds, ``no`` in the others."""
        return yes._with(self.builder.select(self.value, yes.value, yes._other(no)))

    def max(self, other: Lanes | float) -> Lanes:
        return (self > other).choose(self, other)

    def abs(self) -> Lanes:
        return self.max(-self)
