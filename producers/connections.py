"""The connections of this process to the queue, to the results and to the cache: made when first used, and made anew in
a forked child."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import redis
from redis.exceptions import RedisError

from producers.broker import Broker
from timbral.config.celery_variables import foreign_variables
from timbral.config.settings import Settings, public_address, read_settings, settings
from timbral.messages import REFRESH_PLAYED
from timbral.queue.message_form import MessageForm
from timbral.redis_server import client as redis_client
from timbral.redis_server.refusals import as_ours
from timbral.utils.redis_connector import RedisConnector

__all__ = ["Connections", "close", "connect", "connections"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

SOCKET_TIMEOUT_S: Final = 3.0
CONNECT_TIMEOUT_S: Final = 2.0


class Connections:
    """What one process holds; each part is made when it is first used.

    Args:
        settings: says where Redis is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def cache(self) -> RedisConnector:
        """Recommendations; answers None while Redis is away."""
        return self._part("cache", self._connector)

    @property
    def broker(self) -> Broker:
        """The queue."""
        return self._part("broker", self._make_broker)

    @property
    def refresh_message(self) -> MessageForm | None:
        """That of ``refresh_played``, for a script on the cache's server; None where the queue has another."""
        return None if self.queue_is_apart else self.broker.form(REFRESH_PLAYED)

    @property
    def queue_is_apart(self) -> bool:
        """Whether the queue has another Redis than the cache."""
        return self.settings.broker_url != self.settings.redis_url

    @property
    def _jobs(self) -> redis.Redis:
        return self._part("jobs", lambda: _client(self.settings.redis_url))

    @property
    def _results(self) -> redis.Redis:
        return self._part("results", lambda: _client(self.settings.broker_url)) if self.queue_is_apart else self._jobs

    def _make_broker(self) -> Broker:
        _say_once(foreign_variables(self.settings))
        return Broker(self.settings.queue)

    def _connector(self) -> RedisConnector:
        return RedisConnector(
            self.settings.redis_url, socket_timeout_s=SOCKET_TIMEOUT_S, connect_timeout_s=CONNECT_TIMEOUT_S
        )

    def _part(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:  # two threads that come first must not make two of it
            if name not in self._made:
                self._made[name] = make()
            part: T = self._made[name]
            return part

    @contextmanager
    def asking(self, *, results: bool = False) -> Iterator[redis.Redis]:
        """The client of the jobs (on the cache's server) or of the results (on the queue's).

        Raises:
            RedisUnavailableError: Redis is away or did not answer in time.
            RedisPermissionError: its user may not do this.
        """
        url = self.settings.broker_url if results else self.settings.redis_url
        try:
            yield self._results if results else self._jobs
        except RedisError as error:
            raise as_ours(public_address(url), error) from error

    def close(self) -> None:
        """Close what was opened; what is used again is made again."""
        with self._lock:
            made, self._made = self._made, {}
        for part in made.values():
            part.close()


_said: set[str] = set()


def _say_once(sentences: list[str]) -> None:
    for sentence in sentences:
        if sentence not in _said:
            _said.add(sentence)
            logger.warning("%s", sentence)


def _client(url: str) -> redis.Redis:
    return redis_client.connect(
        url,
        timeout_s=SOCKET_TIMEOUT_S,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        max_connections=1000,
        retry=redis_client.retry_once(),
    )


_made: Connections | None = None
_lock = threading.Lock()


def connections() -> Connections:
    """The connections of this process."""
    global _made
    with _lock:
        if _made is None:
            _made = Connections(settings)
        return _made


def connect(redis_url: str | None = None, broker_url: str | None = None) -> None:
    """Say where Redis is, where the environment (REDIS_URL, BROKER_URL) does not; opens nothing yet.

    Args:
        redis_url: the Redis of the cache and, unless ``broker_url`` is given, of the queue; REDIS_URL where None.
        broker_url: the Redis of the queue, where it is another; BROKER_URL where both are None.

    Raises:
        SettingsError: a ValueError; a URL is none of Redis.
    """
    global _made
    given = {"REDIS_URL": redis_url, "BROKER_URL": broker_url} if redis_url else {"BROKER_URL": broker_url}
    made = Connections(read_settings(**given) if redis_url or broker_url else settings)
    with _lock:
        before, _made = _made, made
    if before is not None:
        before.close()


def close() -> None:
    """Close the connections of this process; the next call opens new ones, to the same servers."""
    with _lock:
        made = _made
    if made is not None:
        made.close()


def _forget_after_fork() -> None:
    # The parent's sockets are not ours, and another of its threads may have held the lock.
    global _made, _lock
    _lock = threading.Lock()
    if _made is not None:
        _made = Connections(_made.settings)


os.register_at_fork(after_in_child=_forget_after_fork)
