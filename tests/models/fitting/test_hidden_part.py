"""What is hidden, to choose on: the newest rows, and by chance where they are of one moment."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from timbral.models.engine.sparse_rows import read_rows
from timbral.models.fitting.hidden_part import HiddenPart


def test_rows_of_one_moment_are_hidden_by_chance_and_not_in_the_order_of_their_items() -> None:
    # given: plays that were imported without times
    rng = np.random.default_rng(0)
    rows = read_rows(sparse.random(400, 300, 0.1, "csr", rng=rng), "plays")
    times = np.full(len(rows.values), 1_700_000_000, dtype=np.int64)

    # when
    part = HiddenPart.of(rows, times, np.random.default_rng(1))

    # then: the hidden items are as the others are
    assert part is not None
    assert len(part.hidden.indices) > 500
    assert abs(part.hidden.indices.mean() - part.known.indices.mean()) < 15


def test_of_a_users_rows_the_newest_are_hidden_where_users_stay_for_a_moment_each() -> None:
    rng = np.random.default_rng(0)
    rows = read_rows(sparse.random(400, 300, 0.1, "csr", rng=rng), "plays")
    owner = np.repeat(np.arange(400), np.diff(rows.indptr))
    times = owner * 1_000 + np.arange(len(owner)) - rows.indptr[owner]  # each user later than the one before

    part = HiddenPart.of(rows, times.astype(np.int64), np.random.default_rng(1))

    assert part is not None
    for user in part.judged[:50]:
        hidden = part.hidden.indices[part.hidden.indptr[user] : part.hidden.indptr[user + 1]]
        known = part.known.indices[part.known.indptr[user] : part.known.indptr[user + 1]]
        assert len(hidden)
        assert hidden.min() > known.max()
