"""Where the history is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timbral.config.settings import settings
from timbral.errors import HistoryError

if TYPE_CHECKING:
    from timbral.history.table import HistoryTable

__all__ = ["open_history"]


def open_history() -> HistoryTable:
    """The table at HISTORY_URI.

    Raises:
        HistoryError: deltalake is not installed.
    """
    try:
        # Imported here: a fleet that trains on files alone does without the 200 MB of it.
        from timbral.history.table import HistoryTable
    except ModuleNotFoundError as error:
        raise HistoryError(settings.history_uri, f"needs {error.name}: pip install 'timbral[history]'") from error
    return HistoryTable(settings.history_uri)
