"""Refreshing users who have just played something: many in a batch, and again until nobody waits."""

from __future__ import annotations

import time
import uuid
from typing import Final

import structlog

from timbral.errors import ModelFileError, ModelNotFoundError
from timbral.logic.embedding_refresh import EmbeddingRefresh
from timbral.messages import REFRESH_PLAYED
from timbral.queue.begun import Begun
from workers import publishing, resources
from workers.execution import TRANSIENT

__all__ = ["refresh_waiting", "send_if_waiting"]

logger = structlog.get_logger(__name__)

TOP_K: Final = 10
ROUND_S: Final = 1.0
"""A task goes on for so long while users wait; then the queue's other tasks have their turn."""


def refresh_waiting(begun: Begun | None = None) -> None:
    """Refresh users until nobody waits, for a while; what is left then has a message of its own.

    Args:
        begun: to be noted before anything else.
    """
    queue, store = resources.refresh_queue(), resources.store()
    ends_at, arrived = time.monotonic() + ROUND_S, True
    while True:
        claim = queue.claim(arrived=arrived, begun=begun)
        if claim is None:
            return  # they wait for the first model; see train_model
        arrived, begun = False, None
        try:
            served = store.current((claim.live, claim.revisions))
        except (ModelNotFoundError, ModelFileError) as error:
            queue.let_go(claim)
            if isinstance(error, ModelNotFoundError):
                return
            raise
        if claim.given_up:
            logger.error("refresh given up: it took its worker down too often", users=claim.given_up)
        try:
            refresh = EmbeddingRefresh(resources.records(), resources.connector(), served)
            refresh.users(claim.user_ids, TOP_K, claim.replies)
        except TRANSIENT:
            raise  # Redis is away, and so are the leases; they run out
        except Exception:
            logger.exception("refresh failed, its users are tried one by one", users=len(claim.user_ids))
            queue.give_back(claim)
            n_waiting = queue.waiting()
        else:
            n_waiting = queue.finish(claim)
        if not (n_waiting and claim.user_ids):
            return  # nobody waits, or only for the worker that refreshes them right now: it looks again
        if time.monotonic() > ends_at:
            send_if_waiting()
            return


def send_if_waiting() -> None:
    """Send a ``refresh_played`` message if users wait for one, and none is on its way."""
    queue = resources.refresh_queue()
    if queue.waiting() and queue.may_send():
        publishing.publish(REFRESH_PLAYED, {}, f"{REFRESH_PLAYED}-{uuid.uuid4()}")
