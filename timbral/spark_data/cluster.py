"""What is asked of Spark: to do something for each description, to find what is distinct, to bring a block's rows
together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

import pyarrow as pa

from timbral.engines.spark_session import ANSWER, Each, answer, answers_of_spark, each_described, on_spark

__all__ = ["Cluster", "Description", "RowsOf", "SparkCluster"]

Description = dict[str, Any]
RowsOf = Callable[[Description], Iterable[pa.RecordBatch]]
WithTable = Callable[[pa.Table], Description]
WithBatches = Callable[[Iterator[pa.RecordBatch]], Description | None]

SPARK_TYPES: Final = {
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.string(): "string",
}
TUNED: Final = {
    # Beside on_spark's tasks, which are a range and a function, there is something to be compiled here.
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "200000",
}


class Cluster(Protocol):
    """Whoever can do this; what is done is done by name, and may be done more than once. Answers are plain JSON."""

    def each(self, do: Callable[[Description], Description], descriptions: Sequence[Description]) -> list[Description]:
        """What ``do`` gives for each of ``descriptions``."""

    def distinct(
        self, rows_of: RowsOf, descriptions: Sequence[Description], schema: pa.Schema, do: WithBatches, n_parts: int
    ) -> list[Description]:
        """What ``do`` gives for each of ``n_parts`` parts of the distinct rows among all that ``rows_of`` gives."""

    def grouped(
        self, rows_of: RowsOf, descriptions: Sequence[Description], schema: pa.Schema, do: WithTable, n_groups: int
    ) -> list[Description]:
        """What ``do`` gives for the rows with the same first column, for all of these groups, in any order."""


class SparkCluster:
    """The cluster whose Spark Connect server is at ``url``.

    Raises:
        TrainingError: from every method, where the server is not reached or Spark has given up.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def each(self, do: Callable[[Description], Description], descriptions: Sequence[Description]) -> list[Description]:
        return on_spark(self._url, do, descriptions)

    def distinct(
        self, rows_of: RowsOf, descriptions: Sequence[Description], schema: pa.Schema, do: WithBatches, n_parts: int
    ) -> list[Description]:
        def asked(session: Any) -> Any:
            rows = each_described(session, Each(rows_of, descriptions), _ddl(schema))
            return rows.distinct().mapInArrow(partial(_with_batches, do), ANSWER)

        return answers_of_spark(self._url, asked, _options(n_parts))

    def grouped(
        self, rows_of: RowsOf, descriptions: Sequence[Description], schema: pa.Schema, do: WithTable, n_groups: int
    ) -> list[Description]:
        def asked(session: Any) -> Any:
            rows = each_described(session, Each(rows_of, descriptions), _ddl(schema))
            by_group = rows.groupBy(schema.names[0])

            # By a function of its own, whose signature Spark reads.
            def with_table(table: pa.Table) -> pa.Table:
                return pa.Table.from_batches([answer(do(table))])

            return by_group.applyInArrow(with_table, ANSWER)

        return answers_of_spark(self._url, asked, _options(n_groups))


def _with_batches(do: WithBatches, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    given = do(batches)
    if given is not None:
        yield answer(given)


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {SPARK_TYPES[field.type]}" for field in schema)


def _options(n_parts: int) -> dict[str, str]:
    return TUNED | {"spark.sql.shuffle.partitions": str(n_parts)}
