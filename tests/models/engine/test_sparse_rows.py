"""Rows put together from what a training saw and from new plays are those that scipy makes of them, to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from timbral.models.engine.sparse_rows import SparseRows, read_rows

N_COLUMNS = 7

VALUES = st.floats(2**-20, 1e9, width=32)
PARTS = st.lists(st.tuples(*[st.dictionaries(st.integers(0, N_COLUMNS - 1), VALUES)] * 2), min_size=1, max_size=5)
"""Of each row, what the training saw and what is new."""


@given(PARTS)
def test_rows_are_added_up_as_scipy_does_it(parts: list[tuple[dict[int, float], dict[int, float]]]) -> None:
    trained = [dict(sorted(before.items())) for before, _ in parts]
    lengths = [len(before) + len(new) for before, (_, new) in zip(trained, parts, strict=True)]
    entries = [one for before, (_, new) in zip(trained, parts, strict=True) for one in [*before.items(), *new.items()]]
    columns = np.array([column for column, _ in entries], np.int32)
    values = np.array([value for _, value in entries], np.float32)
    indptr = np.concatenate([[0], np.cumsum(lengths)])

    made = SparseRows.added_up(lengths, columns, values, N_COLUMNS)

    summed = sparse.csr_matrix((values, columns, indptr), shape=(len(parts), N_COLUMNS))
    summed.sum_duplicates()
    expected = read_rows(summed, "plays")
    for name in ("indptr", "indices", "values"):
        ours, theirs = getattr(made, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    assert (made.n_rows, made.n_columns) == (len(parts), N_COLUMNS)
