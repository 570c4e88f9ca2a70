"""The history's files, read in pieces, are what one process reads of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from here_cluster import Here

from timbral.engines.block_store import BlockStore
from timbral.history.interactions import TrainedRows
from timbral.history.play_rows import RecordedPlay, as_rows
from timbral.history.table import STREAM, HistoryTable
from timbral.spark_data import sources
from timbral.spark_data.history_sources import history_sources
from timbral.spark_data.reading import Reading

HOUR_US = 3_600_000_000


@pytest.mark.parametrize("half_life_days", [None, 30.0])
def test_the_same_rows_ids_and_times(
    tmp_path: Path, half_life_days: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: three months in several commits, and a few users of the rarer kind of ids
    monkeypatch.setattr(sources, "ROWS_PER_SOURCE", 100)
    monkeypatch.chdir(tmp_path)
    history = HistoryTable("history")
    rng = np.random.default_rng(0)
    for number in range(4):
        history.append(
            as_rows(
                RecordedPlay(
                    int(user) if user else "somebody", f"item {item}", float(plays), int(at) * HOUR_US, int(at) * HOUR_US
                )
                for user, item, plays, at in zip(
                    rng.integers(0, 60, 300), rng.integers(0, 40, 300), rng.integers(1, 4, 300),
                    rng.integers(470_000, 472_000, 300), strict=True,
                )
            ),
            STREAM,
            number + 1,
            after=number,
        )  # fmt: skip
    rows = TrainedRows.of(history, None, half_life_days)

    # when
    pieces = history_sources(history, rows)
    store = BlockStore(tmp_path / "store", "data")
    stored = Reading(Here(), store, lambda tasks: [], 3, 10**9).read(history.uri, rows.table(), pieces)

    # then
    here = rows.read()
    assert len(pieces) > 3
    assert all(Path(piece.called).is_absolute() for piece in pieces)
    assert (stored.plays.user_ids, stored.plays.item_ids) == (here.user_ids, here.item_ids)
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(stored.plays.matrix, name), getattr(here.matrix, name), name)
    np.testing.assert_array_equal(stored.plays.times, here.times)
    assert stored.plays.report() == here.report()
    assert rows.record(stored.plays.n_rows)["rows_left_out"] == rows.record(here.n_rows)["rows_left_out"] > 0
