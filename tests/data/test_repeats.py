"""Rows of the same user and item: added, or the last, the largest, the mean of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from timbral.data import csv_batches, interactions_reader
from timbral.data.read_options import Repeats
from timbral.errors import ParameterError
from timbral.utils.data_loader import DataLoader

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.integers(0, 4)), min_size=1)
MODES: list[Repeats] = ["sum", "last", "max", "mean"]


@given(rows=ROWS, repeats=st.sampled_from(MODES), by_time=st.booleans(), small=st.booleans())
def test_repeats_are_what_plain_python_makes_of_them(
    rows: list[tuple[int, int, int, int]],
    repeats: Repeats,
    by_time: bool,
    small: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assume(any(row[2] for row in rows))
    path = tmp_path_factory.mktemp("data") / "x.csv"
    path.write_text("user_id,item_id,rating,t\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for user, item, value, time in rows:
        groups[user, item].append((time if by_time else 0, value))
    made: dict[Repeats, Any] = {
        "sum": lambda group: sum(value for _, value in group),
        "last": lambda group: sorted(group, key=lambda one: one[0])[-1][1],
        "max": lambda group: max(value for _, value in group),
        "mean": lambda group: sum(value for _, value in group) / len(group),
    }
    expected = {pair: made[repeats](group) for pair, group in groups.items()}
    assume(any(expected.values()))

    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(interactions_reader, "MOST_PENDING_ROWS", 3)
            patch.setattr(csv_batches, "BLOCK_BYTES", 64)
        read = DataLoader().load_csr(path, repeats=repeats, time_col="t" if by_time else None)

    entries = read.matrix.tocoo()
    pairs = zip(read.user_ids.ids(entries.row), read.item_ids.ids(entries.col), strict=True)
    assert dict(zip(pairs, entries.data.tolist(), strict=True)) == pytest.approx(
        {pair: value for pair, value in expected.items() if value}
    )
    assert read.report()["rows_repeated"] == len(rows) - len(groups)
    assert read.report()["repeats"] == repeats
    if not by_time:
        frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "t"])
        matrix = DataLoader().create_user_item_matrix(frame, repeats=repeats)
        assert {(u, i): matrix.loc[u, i] for u, i in expected} == pytest.approx(expected)


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="repeats must be one of 'sum', 'last', 'max', 'mean', got 'first'"):
        DataLoader().load_csr(tmp_path / "x.csv", repeats="first")
