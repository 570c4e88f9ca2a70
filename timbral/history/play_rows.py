"""The columns of the history, and plays as rows of them.

An id stands as text beside a flag that says whether it is an int: one table holds 1 and "1" apart, whatever a
catalogue's ids are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from timbral.messages import Id

__all__ = ["PARTITIONS", "SCHEMA", "RecordedPlay", "as_rows", "plays_in", "with_month"]

MOMENT: Final = pa.timestamp("us", "UTC")
SCHEMA: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("plays", pa.float64()),
        ("at", MOMENT),
        ("recorded_at", MOMENT),
        ("user_is_int", pa.bool_()),
        ("item_is_int", pa.bool_()),
        ("month", pa.string()),
    ]
)
"""``at``: when it was played. ``recorded_at``: when the fleet got to know of it. ``month``: of ``at``, as 2026-11; the
partition."""

PARTITIONS: Final = ["month"]


class RecordedPlay(NamedTuple):
    """One play as the stream holds it; times in microseconds since 1970."""

    user_id: Id
    item_id: Id
    plays: float
    at_us: int
    recorded_at_us: int


def as_rows(plays: Iterable[RecordedPlay]) -> pa.Table:
    """The plays as a table of ``SCHEMA``."""
    listed = list(plays)
    users, items = [play.user_id for play in listed], [play.item_id for play in listed]
    return with_month(
        {
            "user_id": pa.array([str(one) for one in users], pa.string()),
            "item_id": pa.array([str(one) for one in items], pa.string()),
            "plays": pa.array([play.plays for play in listed], pa.float64()),
            "at": pa.array([play.at_us for play in listed], pa.int64()).cast(MOMENT),
            "recorded_at": pa.array([play.recorded_at_us for play in listed], pa.int64()).cast(MOMENT),
            "user_is_int": pa.array([isinstance(one, int) for one in users], pa.bool_()),
            "item_is_int": pa.array([isinstance(one, int) for one in items], pa.bool_()),
        }
    )


def plays_in(rows: pa.Table) -> Iterator[RecordedPlay]:
    """The plays that ``as_rows`` made ``rows`` of."""
    for batch in rows.to_batches():
        users, items = (
            [
                int(one) if is_int else one
                for one, is_int in zip(batch[name].to_pylist(), batch[flag].to_pylist(), strict=True)
            ]
            for name, flag in (("user_id", "user_is_int"), ("item_id", "item_is_int"))
        )
        moments = (batch[name].cast(pa.int64()).to_pylist() for name in ("at", "recorded_at"))
        yield from map(RecordedPlay, users, items, batch["plays"].to_pylist(), *moments)


def with_month(columns: dict[str, Any]) -> pa.Table:
    """A table of ``SCHEMA`` from all of its columns but ``month``, which is made from ``at``."""
    # Few months in many rows: each is spelt once.
    moments = pc.floor_temporal(columns["at"], unit="month").dictionary_encode()
    month = pc.strftime(moments.dictionary, "%Y-%m").take(moments.indices)
    return pa.table({name: columns.get(name, month) for name in SCHEMA.names}, schema=SCHEMA)
