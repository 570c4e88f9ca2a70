"""A cluster without a cluster, for tests of what Spark does with data."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from timbral.spark_data.cluster import RowsOf, WithTable

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

    def grouped(self, rows_of: RowsOf, descriptions: Sequence[Any], do: WithTable, n_groups: int) -> list[Any]:
        found: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        for one in descriptions:
            for group, rows in self._there(rows_of)(one):
                found[group].append(rows)
        assert all(0 <= group < n_groups for group in found)
        twice = [*found, *found]
        self._order.shuffle(twice)
        answers = {group: self._there(do)(group, pa.Table.from_batches(found[group])) for group in twice}
        return list(answers.values())
