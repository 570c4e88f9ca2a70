"""The recorded plays of users: in the stream, and in the table of all plays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from timbral import keys
from timbral.config.settings import settings
from timbral.erasure.cached_data import moment
from timbral.history.location import open_history
from timbral.messages import Id

if TYPE_CHECKING:
    from timbral.history.archive import PlayArchive

__all__ = ["RecordedPlays"]


class RecordedPlays:
    """What was recorded, wherever it is by now.

    Args:
        redis_client: the Redis of the stream.
    """

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client

    def delete(self, user_ids: Sequence[Id]) -> int:
        """Delete all plays of forgotten users, with every old file that held them; returns how many plays the table
        had.

        Raises:
            HistoryError: the table cannot be rewritten, or there is one, and this worker has no deltalake.
        """
        archive = self._archive()
        if archive is None:
            return 0
        # The stream first: what it has of them is left out, and the stream is cut.
        archive.run()
        return sum(archive.history.delete_user(user_id) for user_id in user_ids)

    def of(self, user_ids: Sequence[Id]) -> list[dict[str, Any]]:
        """All plays of a user as JSON data: by time, and at the end those that the table has not got yet.

        Raises:
            HistoryError: the table cannot be read.
        """
        archive = self._archive()
        if archive is None:
            return []
        rows = [row for user_id in user_ids for row in archive.history.plays_of(user_id).to_pylist()]
        return [
            {
                "item_id": int(row["item_id"]) if row["item_is_int"] else row["item_id"],
                "plays": row["plays"],
                "at": row["at"].isoformat(),
                "recorded_at": row["recorded_at"].isoformat(),
            }
            for row in rows
        ] + [
            {
                "item_id": play.item_id,
                "plays": play.plays,
                "at": moment(play.at_us),
                "recorded_at": moment(play.recorded_at_us),
            }
            for play in archive.waiting()
            if play.user_id in user_ids
        ]

    def _archive(self) -> PlayArchive | None:
        """None in a fleet that has never recorded a play, which may do without deltalake."""
        is_unused = settings.HISTORY_URI is None and not Path(settings.history_uri).exists()
        if is_unused and not self.redis.exists(keys.PLAYS_STREAM, keys.PLAYS_ARCHIVED):
            return None
        history = open_history()
        # Imported here, after it is known that deltalake is installed.
        from timbral.history.archive import PlayArchive

        return PlayArchive(self.redis, history)
