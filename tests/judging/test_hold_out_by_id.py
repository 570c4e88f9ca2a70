"""The hold-out depends on ids alone, so that it stays the same as a data set grows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from taste import history

from timbral.data.id_index import IdIndex
from timbral.errors import ParameterError
from timbral.judging.hold_out import hold_out_by_id


def split(rows: list[tuple[object, object, int]], share: float = 0.2) -> tuple[set[tuple[object, object]], ...]:
    users, items = (IdIndex(sorted({row[place] for row in rows})) for place in (0, 1))
    entries = users.codes([r[0] for r in rows]), items.codes([r[1] for r in rows])
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), entries), shape=(len(users), len(items)))
    parts = hold_out_by_id(matrix, users, items, share)
    assert ((parts[0] + parts[1]) != matrix).nnz == 0
    assert [part.shape for part in parts] == [matrix.shape, matrix.shape]
    return tuple(set(zip(users.ids(part.tocoo().row), items.ids(part.tocoo().col), strict=True)) for part in parts)


@pytest.mark.parametrize("text_ids", [False, True])
def test_about_the_share_is_held_out_and_everyone_keeps_something(text_ids: bool) -> None:
    rows = history(1000, text_ids=text_ids)

    train, held = split(rows)

    assert len(held) / len(rows) == pytest.approx(0.2, abs=0.015)
    assert {user for user, _ in train} == {row[0] for row in rows}
    assert not train & held


@pytest.mark.parametrize("text_ids", [False, True])
def test_what_was_trained_on_stays_so_when_rows_users_and_items_are_added(text_ids: bool) -> None:
    before = history(300, text_ids=text_ids)
    after = before + [(f"0{u}", f"0{i}", 1) if text_ids else (u, 7000 + i, 1) for u in range(40) for i in range(9)]

    (train, held), (later_train, later_held) = split(before), split(after)

    assert not later_held & train
    assert held - later_held == set()
    assert train <= later_train


def test_someone_with_one_row_keeps_it_and_a_share_of_zero_holds_nothing_out() -> None:
    train, held = split([(user, 1, 1) for user in range(200)], 0.9)
    assert len(train) == 200
    assert not held
    assert not split(history(50), 0.0)[1]


def test_a_share_of_one_is_refused() -> None:
    with pytest.raises(ParameterError, match="share"):
        split(history(5), 1.0)
