"""The beginning of a task, in the process that does it: a delivery counts from here, not from its receipt; and its end
by revocation."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from celery import current_app

from timbral.queue import layout
from timbral.queue.begun import Begun
from timbral.queue.patience import OUTAGES
from workers.delivery import sent_ahead
from workers.delivery.unacked import Unacked, begun_of

__all__ = ["ended", "note", "noted_by_itself", "revoked"]

logger = logging.getLogger(__name__)


@cache
def _unacked() -> Unacked:
    from workers import resources

    return Unacked(resources.broker(), layout.UNACKED_INDEX, layout.UNACKED)


def note(task: Any) -> None:
    """Count this delivery, before anything is done that might end the process."""
    from workers import successors

    sent_ahead.read_replies()  # of a task that was ended before its end, in a pool of threads
    request = task.request
    tag = (request.properties or {}).get("delivery_tag")
    if request.called_directly or not tag:
        return
    if noted_by_itself(task) is None:
        try:
            _unacked().begin(tag, request.id)
        except OUTAGES as error:
            logger.warning("Cannot count that %s was begun: %s", request.id, error)
    successors.know_queues(current_app, [request.callbacks, request.errbacks, request.chain, request.chord])


def noted_by_itself(task: Any) -> Begun | None:
    """What a task notes in its own first step, where it does so (``Task.notes_its_beginning``) and reaches the queue's
    server in it; None where it was noted before."""
    from workers import resources

    request = task.request
    tag = (request.properties or {}).get("delivery_tag")
    if not task.notes_its_beginning or not tag or resources.broker() is not resources.records():
        return None
    return begun_of(tag, request.id)


def ended() -> None:
    """The task has ended, before its message is acknowledged: what was noted at its beginning is written by now."""
    sent_ahead.read_replies()


def revoked(request: Any, *, expired: bool) -> None:
    """Somebody revoked the task or ended it, or it expired: what it is part of must not wait for it."""
    from workers import outcome

    try:
        outcome.revoked(request.id, request.task, request.kwargs or {}, expired=expired)
    except Exception:
        logger.exception("Cannot tell those who wait for %s that it was revoked", request.id)
