"""What was found in a data set: for the log, the training's answer and its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.data.table import Table

__all__ = ["DataReport", "report_line"]

ENTRIES_AT_A_TIME: Final = 8_000_000
NO_IDS: Final = (
    "NULL", "null", "None", "none", "NaN", "nan", "NA", "N/A", "n/a", "#N/A", "<NA>", "\\N", "undefined", "unknown",
)  # fmt: skip
"""What programs write where there is no id. Among texts each may be one: it is told, and kept."""


@dataclass(frozen=True)
class DataReport:
    """Attributes:
    rows: rows that the files have.
    dropped: rows left out for a missing id, value or time (``on_missing="drop"``).
    repeated: rows whose user and item were there before; ``repeats`` says what became of them.
    user_col, item_col, value_col, time_col: the columns that were read; None: each row counts 1, there are no times.
    format, separator, preset: how it was read.
    repeats: sum, last, max or mean.
    """

    rows: int
    dropped: int
    repeated: int
    user_col: str
    item_col: str
    value_col: str | None
    time_col: str | None
    format: str
    separator: str | None
    preset: str | None
    repeats: str

    @classmethod
    def of(cls, table: Table, rows: int, dropped: int, repeated: int) -> DataReport:
        """The report on rows that were read as ``table`` says."""
        user, item, value, time = table.found.texts()
        options = table.options
        separator = options.separator if table.format == "csv" else None
        return cls(
            rows, dropped, repeated, str(user), str(item), value, time, table.format, separator,
            options.preset, options.repeats,
        )  # fmt: skip

    def with_shape(self, matrix: sparse.csr_matrix, user_ids: IdIndex, item_ids: IdIndex) -> dict[str, Any]:
        """The report beside what the matrix tells: kinds of ids, density, the long tail. JSON-ready."""
        n_users, n_items = matrix.shape
        of_items = np.zeros(n_items, dtype=np.int64)
        for start in range(0, matrix.nnz, ENTRIES_AT_A_TIME):  # they may be mapped, and numpy makes larger ones of them
            of_items += np.bincount(matrix.indices[start : start + ENTRIES_AT_A_TIME], minlength=n_items)
        of_items = np.sort(of_items)[::-1]
        of_users = np.diff(matrix.indptr)
        n_head = max(1, n_items // 100)
        return {
            "rows": self.rows,
            "rows_dropped": self.dropped,
            "rows_repeated": self.repeated,
            "repeats": self.repeats,
            "format": self.format,
            "separator": self.separator,
            "preset": self.preset,
            "user_col": self.user_col,
            "item_col": self.item_col,
            "value_col": self.value_col,
            "time_col": self.time_col,
            "user_id_kind": _kind(user_ids),
            "item_id_kind": _kind(item_ids),
            "user_ids_like_none": _like_none(user_ids),
            "item_ids_like_none": _like_none(item_ids),
            "density": round(float(matrix.nnz) / max(1, n_users * n_items), 8),
            "median_items_per_user": float(np.median(of_users)) if n_users else 0.0,
            "median_users_per_item": float(np.median(of_items)) if n_items else 0.0,
            "items_with_one_user": int((of_items == 1).sum()),
            "share_of_top_1_percent_items": round(float(of_items[:n_head].sum()) / max(1, int(of_items.sum())), 4),
        }


def _kind(index: IdIndex) -> str:
    return "int" if index.is_int else "str"


def _like_none(index: IdIndex) -> list[str]:
    return [] if index.is_int else [text for text in NO_IDS if text in index]


def report_line(report: Mapping[str, Any], shape: tuple[int, int]) -> str:
    """``with_shape``'s report of a matrix of that shape in a line, for a person."""
    n_users, n_items = shape
    parts = [f"{report['rows']:,} rows"]
    parts += [f"{report['rows_dropped']:,} left out"] if report["rows_dropped"] else []
    parts += [f"{report['rows_repeated']:,} repeated ({report['repeats']})"] if report["rows_repeated"] else []
    parts += [f"{report['entries_of_zero']:,} of value 0, not learnt from"] if report["entries_of_zero"] else []
    parts += [f"{n_users:,} users ({report['user_id_kind']}) × {n_items:,} items ({report['item_id_kind']})"]
    parts += [f"density {report['density']:.2g}", f"values: {report['value_col'] or '1 a row'}"]
    parts += [f"{report['items_with_one_user']:,} items with one user"] if report["items_with_one_user"] else []
    for kind in ("user", "item"):
        like_none = report[f"{kind}_ids_like_none"]
        parts += [f"{', '.join(map(repr, like_none))} among the {kind} ids: missing ones?"] if like_none else []
    return "data: " + ", ".join(parts)
