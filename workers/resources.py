"""What the tasks of one process work with: made when first used, so that each process of a pool has its own."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from timbral.config.settings import settings
from timbral.erasure.stored_data import StoredData
from timbral.history.location import open_history
from timbral.logic.jobs import Jobs
from timbral.logic.overlay import Overlay
from timbral.logic.single_flight import SingleFlight
from timbral.plays.refresh_queue import RefreshQueue
from timbral.queue.held_messages import HeldMessages
from timbral.queue.patience import PatientRedis
from timbral.redis_server.client import connect
from timbral.utils.redis_connector import RedisConnector
from timbral.versions.model_store import ModelStore

if TYPE_CHECKING:
    from timbral.history.archive import PlayArchive

__all__ = [
    "archive",
    "broker",
    "connector",
    "flights",
    "held",
    "is_alive",
    "jobs",
    "n_threads",
    "overlay",
    "records",
    "refresh_queue",
    "store",
    "stored_data",
]

OUTAGE_RETRIES = 8
"""Tries of one command, 0.2 s to 3 s apart: a Redis that restarts costs a task some seconds, and not its work."""


def _client(url: str) -> redis.Redis:
    return connect(
        url,
        timeout_s=30,
        connect_timeout_s=5,
        kind=PatientRedis,
        retry=Retry(ExponentialBackoff(cap=3, base=0.2), OUTAGE_RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, BusyLoadingError],
    )


@cache
def records() -> redis.Redis:
    """The Redis of the cache, the models' records and the jobs."""
    return _client(settings.redis_url)


@cache
def broker() -> redis.Redis:
    """The Redis of the queue and the results."""
    return records() if settings.broker_url == settings.redis_url else _client(settings.broker_url)


@cache
def connector() -> RedisConnector:
    """The cache's public interface, for embeddings."""
    return RedisConnector(settings.redis_url)


@cache
def store() -> ModelStore:
    """The models; holds the one copy that this process has mapped."""
    return ModelStore(records(), settings.MODEL_DIR, n_threads=n_threads())


@cache
def overlay() -> Overlay:
    """New plays and blocks."""
    return Overlay(records())


@cache
def archive() -> PlayArchive:
    """From the plays' stream into the history.

    Raises:
        HistoryError: deltalake is not installed.
    """
    history = open_history()
    # Imported here, after it is known that deltalake is installed: a worker that never trains needs neither.
    from timbral.history.archive import PlayArchive

    return PlayArchive(records(), history)


@cache
def refresh_queue() -> RefreshQueue:
    """The users whose lists do not know of all their plays."""
    return RefreshQueue(records())


@cache
def jobs() -> Jobs:
    """The fanned-out jobs."""
    return Jobs(records())


@cache
def held() -> HeldMessages:
    """The messages in the queues and with workers."""
    return HeldMessages(broker())


def stored_data(task_id: str) -> StoredData:
    """All that is stored of users, as one task sees it."""
    return StoredData(records(), broker(), store(), task_id)


@cache
def flights() -> SingleFlight:
    """The requests that are being done once for all who ask."""
    return SingleFlight(records(), is_alive, look_after_s=max(2 * settings.RESTORE_INTERVAL_S, 2.0))


def is_alive(task_id: str) -> bool:
    """Whether the task's message is somewhere, or its job is open."""
    return jobs().is_open(task_id) or task_id in held()


def n_threads() -> int | None:
    """Threads of a model's work in this process; None for N_THREADS."""
    # workers.cores has shared the host's cores among the pool's processes.
    shared = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(shared) if shared.isdigit() and settings.N_THREADS == 0 else None
