"""A cluster without a cluster, for tests of what Spark does with data."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Here"]


class Here:
    """The smallest cluster, which does everything twice, and in another order each time."""

    def __init__(self, there: Callable[[Any], Any] = lambda do: do) -> None:
        self._order = random.Random(0)
        self._there = there
        """What is done, as another host has it."""

    def each(self, do: Callable[[Any], Any], descriptions: Sequence[Any]) -> list[Any]:
        twice = [*descriptions, *descriptions]
        self._order.shuffle(twice)
        answers = [self._there(do)(one) for one in twice]
        return [answers[twice.index(one)] for one in descriptions]

    def distinct(
        self, rows_of: Callable[[Any], Iterable[Any]], descriptions: Sequence[Any], schema: pa.Schema, do: Any, n: int
    ) -> list[Any]:
        table = self._rows(rows_of, descriptions, schema)
        parts = table.group_by(schema.names).aggregate([]).to_batches(max_chunksize=-(-table.num_rows // n))
        return [answer for part in parts if (answer := self._there(do)(iter([part]))) is not None]

    def grouped(
        self, rows_of: Callable[[Any], Iterable[Any]], descriptions: Sequence[Any], schema: pa.Schema, do: Any, n: int
    ) -> list[Any]:
        table = self._rows(rows_of, descriptions, schema)
        keys = table[0].unique().to_pylist()
        self._order.shuffle(keys)
        return [self._there(do)(table.filter(pc.equal(table[0], key))) for key in [*keys, *keys]]

    def _rows(self, rows_of: Callable[[Any], Iterable[Any]], descriptions: Sequence[Any], schema: pa.Schema) -> Any:
        batches = [batch for one in descriptions for batch in self._there(rows_of)(one)]
        self._order.shuffle(batches)
        return pa.Table.from_batches(batches, schema=schema)
