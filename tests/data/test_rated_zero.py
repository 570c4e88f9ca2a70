"""What was rated 0 is no entry of the matrix, and is not forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from timbral.utils.data_loader import DataLoader

ROWS = "user_id,item_id,rating\n1,10,5\n1,11,0\n2,10,0\n2,12,0\n3,12,4\n3,10,0\n3,10,2\n"


def test_zeros_are_apart_from_the_entries(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(ROWS)

    read = DataLoader().load_csr(tmp_path / "ratings.csv")

    assert read.matrix.toarray().tolist() == [[5, 0, 0], [0, 0, 0], [2, 0, 4]]
    assert read.zeros is not None
    assert read.zeros.toarray().astype(int).tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


def test_they_follow_the_users_and_items_that_stay(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(ROWS)

    left = DataLoader().load_csr(tmp_path / "ratings.csv").without_users(np.array([2], np.int32))

    assert left.user_ids.ids([0]) == [1]
    assert left.zeros is not None
    assert left.zeros.shape == left.matrix.shape


def test_without_zeros_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("user_id,item_id\n1,10\n2,11\n")

    assert DataLoader().load_csr(tmp_path / "plays.csv").zeros is None
