"""The history's plays of users: what the table of all plays holds, and its deletion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbral.config.settings import settings
from timbral.errors import HistoryError
from timbral.messages import Id

if TYPE_CHECKING:
    from timbral.history.table import HistoryTable

__all__ = ["plays_deleted", "plays_of"]


def plays_deleted(user_ids: Sequence[Id]) -> int:
    """Delete all of their plays, with every old file that held them; gives how many plays.

    Raises:
        HistoryError: it cannot be rewritten, or this worker cannot read it.
    """
    table = _table()
    return 0 if table is None else sum(int(table.delete_user(user_id)) for user_id in user_ids)


def plays_of(user_ids: Sequence[Id]) -> list[dict[str, Any]]:
    """All of their plays as JSON data, oldest first.

    Raises:
        HistoryError: it cannot be read.
    """
    table = _table()
    rows = [row for user_id in user_ids for row in table.plays_of(user_id).to_pylist()] if table is not None else []
    return [
        {
            "item_id": int(row["item_id"]) if row["item_is_int"] else row["item_id"],
            "plays": row["plays"],
            "at": row["at"].isoformat(),
            "recorded_at": row["recorded_at"].isoformat(),
        }
        for row in rows
    ]


def _table() -> HistoryTable | None:
    try:
        # Imported here: a fleet that trains on files alone may do without deltalake.
        from timbral.history.table import HistoryTable
    except ImportError:
        if settings.HISTORY_URI is None and not Path(settings.history_uri).exists():
            return None
        raise HistoryError(settings.history_uri, "this worker has not the extra 'history', which reads it") from None
    return HistoryTable(settings.history_uri)
