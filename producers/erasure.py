"""Forgetting users, and telling what is stored of one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from producers.connections import connections
from producers.enqueue import enqueue
from producers.jobs import Job
from timbral import keys
from timbral.errors import JobError
from timbral.messages import ExportUser, ForgetUsers, Id, checked_ids

__all__ = ["enqueue_export_user", "export_user", "forget_user", "forget_users", "take_export"]

EXPORT_TIMEOUT_S = 60.0


def forget_user(user_id: Id) -> Job:
    """Have all that is stored of a user removed: ``forget_users`` for one."""
    return forget_users([user_id])


def forget_users(user_ids: Iterable[Id]) -> Job:
    """Have all that is stored of users removed, and keep them out from then on.

    Lists, vectors, new plays and blocks; what waits in queues and records; their plays in the history, whose files are
    rewritten; their rows in every model version that is kept. A salted hash of each id stays, so that what arrives late
    brings nobody back: an id that was forgotten stays out for good.

    The answer is a receipt that names nobody: ``users``, ``removed`` (counts by kind), ``kept`` (the hashes),
    ``data_sets`` (files of the app's that kept versions were trained on, and that the app has to rewrite itself),
    ``forgotten_at``. What Redis holds is gone within moments; the files follow when no training is before them.

    Args:
        user_ids: original ids; 1 and "1" are one user.

    Raises:
        ParameterError: an id is neither an int nor a string, or a string stands for the list; nothing was sent.
        MessageError: there are none, or too many; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    return enqueue(ForgetUsers, {"user_ids": checked_ids(user_ids, "user_ids")})


def export_user(user_id: Id, *, timeout_s: float = EXPORT_TIMEOUT_S) -> dict[str, Any]:
    """All that is stored of a user, as JSON data; gathered by a worker.

    ``recommendations``, ``embedding``, ``new_plays``, ``blocked_items``, ``on_their_way`` (what waits in queues),
    ``history`` (every recorded play), ``models`` (what each version that is kept was trained on, and the user's vector
    in it), ``is_forgotten``.

    Raises:
        MessageError: the id is neither an int nor a string.
        JobTimeoutError: no worker has done it after ``timeout_s``.
        RedisUnavailableError: Redis is away.
    """
    job = enqueue_export_user(user_id)
    job.wait(timeout_s)
    return take_export(job)


def enqueue_export_user(user_id: Id) -> Job:
    """Have all that is stored of a user gathered; ``take_export`` reads it once the job is done.

    The answer: how many ``models`` know the user, how many ``plays`` were recorded, and how much is ``on_their_way``.

    Args:
        user_id: original id.

    Raises:
        MessageError: the id is neither an int nor a string; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    return enqueue(ExportUser, {"user_id": user_id})


def take_export(job: Job) -> dict[str, Any]:
    """What the job of an export has gathered; it is handed out once.

    Raises:
        JobError: it was read before, or has expired.
        RedisUnavailableError: Redis is away.
    """
    with connections().asking() as client:
        value: Any = client.getdel(keys.export(job.id))
    if value is None:
        raise JobError(job.id, "its export was read before, or has expired: ask for a new one")
    found: dict[str, Any] = json.loads(value)
    return found
