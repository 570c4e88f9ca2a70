"""Recording what users play: all that an app has to do, and the fleet's lists and trainings follow."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from producers.connections import Connections, connections
from producers.plain import plain
from timbral.errors import RedisUnavailableError
from timbral.messages import REFRESH_PLAYED, Play, RecordPlays, read_message
from timbral.plays.recorder import PlayRecorder

__all__ = ["record_plays"]

logger = logging.getLogger(__name__)

TRY_AGAIN_S: Final = 120
"""A call is tried once more on a new connection; whatever it has recorded by then is known for so long."""


def record_plays(plays: Iterable[Play | Mapping[str, Any]]) -> int:
    """Record what users have played: ``{"user_id": 7, "item_id": 12}``, or with ``plays``, ``at`` and ``event_id``.

    When it returns, the plays are in Redis, each of them once. The users' vectors and lists follow within milliseconds,
    those of new users too; the next training learns from all of them, those of items that the model does not know yet
    too.

    Give an ``event_id`` where the same play may be recorded twice, because your app tries again or reads from a queue
    of its own: within
    the workers' EVENT_ID_WINDOW_S the same id counts once.

    Returns:
        how many were new; the others' event ids were recorded before.

    Raises:
        MessageError: lists each play that is wrong; none was recorded.
        RedisUnavailableError: a ConnectionError, within seconds. The plays may have been recorded or not, of more than
            a thousand some: record them again, with the same event ids.
    """
    listed = read_message(RecordPlays, {"plays": plain(plays)}).plays
    reached = connections()
    with reached.asking() as client:
        recorded = PlayRecorder(client, reached.refresh_message).record(listed, uuid.uuid4().hex, TRY_AGAIN_S)
    if recorded.send_refresh:
        _send_refresh(reached)
    return recorded.plays


def _send_refresh(reached: Connections) -> None:
    try:
        reached.broker.publish(REFRESH_PLAYED, {}, f"{REFRESH_PLAYED}-{uuid.uuid4()}")
    except RedisUnavailableError as error:
        # The plays are recorded, and who waits for a refresh is written down: the workers' rescue sends what this could
        # not.
        logger.warning("The refresh waits for the workers' rescue: %s", error)
