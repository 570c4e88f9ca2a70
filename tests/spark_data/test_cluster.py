"""What is sent around on Spark, and brought together, without Spark: chunks in any order give the rows in theirs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from timbral.engines.spark_session import Each
from timbral.spark_data import cluster
from timbral.spark_data.grouping import rows_by_group

N_GROUPS = 3


def rows_of(description: dict[str, Any]) -> Iterator[tuple[int, pa.RecordBatch]]:
    rng = np.random.default_rng(description["seed"])
    groups = rng.integers(0, N_GROUPS, 1000)
    numbers = description["seed"] * 10_000 + np.arange(1000)
    yield from rows_by_group(groups, {"group": groups, "number": numbers, "text": pa.array(numbers.astype(str))})


def seen(group: int, table: pa.Table) -> dict[str, Any]:
    return {"group": group} | {name: table[name].to_pylist() for name in table.column_names if name != "group"}


def test_a_group_has_all_of_its_rows_in_their_order_however_the_chunks_came(monkeypatch: pytest.MonkeyPatch) -> None:
    # given: two descriptions, whose chunks come mixed
    monkeypatch.setattr(cluster, "ROWS_PER_CHUNK", 64)
    placed = [{"place": place, "described": {"seed": seed}} for place, seed in enumerate((5, 2))]
    chunks = list(Each(partial(cluster._chunks, rows_of), placed)([pa.RecordBatch.from_pydict({"id": [0, 1]})]))
    random.Random(0).shuffle(chunks)

    # when
    answers = cluster._with_tables(seen, iter(chunks))
    found = [json.loads(text) for one in answers for text in one.column(0).to_pylist()]

    # then
    assert all(batch.num_rows == 1 for batch in chunks)
    assert sorted(one["group"] for one in found) == list(range(N_GROUPS))
    for one in found:
        theirs = [rows for seed in (5, 2) for group, rows in rows_of({"seed": seed}) if group == one["group"]]
        assert one["number"] == [number for rows in theirs for number in rows["number"].to_pylist()]
        assert one["text"] == [str(number) for number in one["number"]]


def test_rows_by_group_gives_each_group_its_rows_in_their_order() -> None:
    groups = np.array([300, 2, 300, 0, 2])

    found = {group: rows["row"].to_pylist() for group, rows in rows_by_group(groups, {"row": np.arange(5)})}

    assert found == {0: [3], 2: [1, 4], 300: [0, 2]}
    assert list(rows_by_group(np.empty(0, np.int64), {"row": np.empty(0)})) == []
