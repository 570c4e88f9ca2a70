"""What is asked of Spark: to do something for each description, and to bring the rows of a group together.

Spark never sees a row. It would turn each into one of Java's, and sort them: what it sends around are chunks of a
group's rows, as bytes, so that its part is one of some thousand records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

import pyarrow as pa

from timbral.engines.spark_session import ANSWER, Each, answer, answers_of_spark, each_described, on_spark

__all__ = ["Cluster", "Description", "RowsOf", "SparkCluster", "WithTable"]

Description = dict[str, Any]
RowsOf = Callable[[Description], Iterable[tuple[int, pa.RecordBatch]]]
"""Numbers of groups, from 0, and rows of theirs."""
WithTable = Callable[[int, pa.Table], Description]
"""Of the number of a group, and all of its rows."""

CHUNK: Final = "part int, place bigint, rows binary"
ROWS_PER_CHUNK: Final = 50_000
"""About a megabyte."""
MOST_CHUNKS: Final = 1 << 32
"""Of one description."""
OPTIONS: Final = {"spark.sql.execution.arrow.maxRecordsPerBatch": "16"}


class Cluster(Protocol):
    """Whoever can do this; what is done is done by name, and may be done more than once. Answers are plain JSON."""

    def each(self, do: Callable[[Description], Description], descriptions: Sequence[Description]) -> list[Description]:
        """What ``do`` gives for each of ``descriptions``."""

    def grouped(
        self, rows_of: RowsOf, descriptions: Sequence[Description], do: WithTable, n_groups: int
    ) -> list[Description]:
        """What ``do`` gives for each of ``n_groups`` groups that has rows, in any order of the groups.

        The rows of a group are those of the first description, then those of the second, each as ``rows_of`` gave them.
        """


class SparkCluster:
    """The cluster whose Spark Connect server is at ``url``.

    Raises:
        TrainingError: from every method, where the server is not reached or Spark has given up.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def each(self, do: Callable[[Description], Description], descriptions: Sequence[Description]) -> list[Description]:
        return on_spark(self._url, do, descriptions)

    def grouped(
        self, rows_of: RowsOf, descriptions: Sequence[Description], do: WithTable, n_groups: int
    ) -> list[Description]:
        placed = [{"place": place, "described": one} for place, one in enumerate(descriptions)]

        def asked(session: Any) -> Any:
            chunks = each_described(session, Each(partial(_chunks, rows_of), placed), CHUNK)
            return chunks.repartitionById(n_groups, "part").mapInArrow(partial(_with_tables, do), ANSWER)

        return answers_of_spark(self._url, asked, OPTIONS)


def _chunks(rows_of: RowsOf, placed: Description) -> Iterator[pa.RecordBatch]:
    place = placed["place"] * MOST_CHUNKS
    for group, rows in rows_of(placed["described"]):
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, rows.schema) as stream:
                stream.write_batch(rows.slice(start, ROWS_PER_CHUNK))
            chunk = pa.array([sink.getvalue().to_pybytes()], pa.binary())
            columns = [pa.array([group], pa.int32()), pa.array([place], pa.int64()), chunk]
            yield pa.RecordBatch.from_arrays(columns, ["part", "place", "rows"])
            place += 1


def _with_tables(do: WithTable, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    found: dict[int, list[tuple[int, pa.Buffer]]] = defaultdict(list)
    for batch in batches:
        groups, places, rows = (batch.column(name) for name in ("part", "place", "rows"))
        for group, place, chunk in zip(groups.to_pylist(), places.to_pylist(), rows, strict=True):
            found[group].append((place, chunk.as_buffer()))
    while found:
        group, chunks = found.popitem()
        chunks.sort(key=lambda chunk: chunk[0])
        # No name for the table here: who does it may let go of it.
        yield answer(do(group, pa.concat_tables([pa.ipc.open_stream(rows).read_all() for _, rows in chunks])))
