"""The cache: recommendations as JSON and embeddings as pickles of plain data, under the keys of ``timbral.keys``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError
from redis.exceptions import TimeoutError as RedisTimeoutError

from timbral import keys
from timbral.config.settings import public_address, settings
from timbral.errors import ParameterError
from timbral.lists.blocks import StoredList, StoredLists, blocked_in, fetch, without_blocked
from timbral.redis_server import client as redis_client
from timbral.redis_server.refusals import in_words
from timbral.utils import plain_pickle

__all__ = ["RedisConnector"]

logger = logging.getLogger(__name__)

Id = int | str
T = TypeVar("T")

BATCH: Final = 1000
"""Keys in one round trip of a batch form."""
PROBE_TIMEOUT_S: Final = 0.5
"""A look whether Redis is back waits at most this long to connect, and as long for the answer."""
BACK_OFF_FACTOR: Final = 10
MAX_BACK_OFF_S: Final = 2.0
"""After a failed look nobody looks for ten times as long as it took, and for 2 s at most: callers lose a fifth of their
time to a frozen server and next to none to one that refuses at once, which is found again within milliseconds of its
start."""
MAX_CONNECTIONS: Final = 1000


class RedisConnector:
    """Reads and writes the cache, and never takes its caller down with it.

    While Redis is away, or answers with an error, every call returns False or None and logs; it raises only for
    arguments that are wrong. The connection is looked for again by itself. Safe to share between threads, and across a
    fork.

    Args:
        url: of the server; REDIS_URL with REDIS_PASSWORD and REDIS_DB where None.
        socket_timeout_s: longest wait for an answer, in seconds: what a frozen server costs.
        connect_timeout_s: longest wait for a connection, in seconds.

    Raises:
        ParameterError: ``url`` is no Redis URL.
    """

    def __init__(
        self, url: str | None = None, *, socket_timeout_s: float = 5.0, connect_timeout_s: float = 2.0
    ) -> None:
        self._url = settings.redis_url if url is None else url
        self.address = public_address(self._url)
        """Where it connects to, without password."""
        self._socket_timeout_s = socket_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._client: redis.Redis | None = None
        self._next_look_at = 0.0
        self._error: str | None = None
        self._closed = False
        self._look(first=True)

    # The connection

    @property
    def redis_client(self) -> redis.Redis | None:
        """The client, or None while Redis is down (or after ``close``)."""
        if self._client is None and not self._closed and time.monotonic() >= self._next_look_at:
            self._look()
        return self._client

    @redis_client.setter
    def redis_client(self, client: redis.Redis | None) -> None:
        self._client = client
        if client is None:
            self._next_look_at = time.monotonic() + PROBE_TIMEOUT_S

    def _make_client(self, socket_timeout_s: float, connect_timeout_s: float) -> redis.Redis:
        try:
            return redis_client.connect(
                self._url,
                timeout_s=socket_timeout_s,
                connect_timeout_s=connect_timeout_s,
                max_connections=MAX_CONNECTIONS,
                retry=redis_client.retry_once(),
            )
        except ValueError as error:
            raise ParameterError(f"{self.address!r} is no Redis URL: {error}") from None

    def _look(self, *, first: bool = False) -> None:
        # No lock: a fork could leave one held for ever, and two threads that look at once do no harm.
        started = time.monotonic()
        self._next_look_at = started + 3 * PROBE_TIMEOUT_S  # the others do not wait with us
        client = self._make_client(self._socket_timeout_s, self._connect_timeout_s)
        try:
            if first:
                client.ping()
            else:
                with self._make_client(PROBE_TIMEOUT_S, min(PROBE_TIMEOUT_S, self._connect_timeout_s)) as probe:
                    probe.ping()
        except Exception as error:
            if first or self._error is None:
                logger.warning("Redis at %s is not available: %s", self.address, error)
            self._error = in_words(error)
            self._back_off(started)
            return
        if not first:
            logger.info("Redis at %s is back", self.address)
        self._error = None
        self._client = client

    def _back_off(self, failure_started: float) -> None:
        now = time.monotonic()
        self._next_look_at = now + min(BACK_OFF_FACTOR * (now - failure_started), MAX_BACK_OFF_S)

    def attempt(self, what: str, key: object, call: Callable[[redis.Redis], T]) -> T | None:
        """``call(client)``, for what has no method here; None where Redis is away or answers with an error.

        Args:
            what: the command, for the log.
            key: the key, for the log.
        """
        client = self.redis_client
        if client is None:
            return None
        started = time.monotonic()
        try:
            return call(client)
        except MaxConnectionsError as error:
            logger.warning("%s %s failed: %s", what, key, error)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            if self._client is client:
                logger.warning("%s %s failed, Redis at %s is not available: %s", what, key, self.address, error)
                self._client, self._error = None, in_words(error)
                self._back_off(started)
        except Exception as error:  # a cache never takes its caller down: no permission, out of memory, a wrong type, …
            logger.warning("%s %s failed: %s", what, key, error)
        return None

    def close(self) -> None:
        """Close the connections; every later call answers False or None. Closing twice is no error."""
        client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def health_check(self) -> dict[str, Any]:
        """How Redis is, asked now.

        Returns:
            ``status`` "healthy" or "unhealthy"; ``latency_ms`` of a PING, ``version`` of the server, ``memory`` in use
            as text ("1.20M") and ``memory_bytes``, None where unknown; ``error``, None where healthy.
        """
        report: dict[str, Any] = dict.fromkeys(
            ("status", "latency_ms", "version", "memory", "memory_bytes", "error"), None
        )
        if self._client is None and not self._closed:
            self._look()
        started = time.monotonic()
        if not self.attempt("PING", "", lambda client: client.ping()):
            error = "the connector is closed" if self._closed else self._error or "PING failed"
            return {**report, "status": "unhealthy", "error": error}
        report.update(status="healthy", latency_ms=round((time.monotonic() - started) * 1000, 3))
        info: Mapping[str, Any] = self.attempt("INFO", "", lambda client: client.info()) or {}
        version = info.get("valkey_version") or info.get("redis_version")
        return {
            **report,
            "version": version,
            "memory": info.get("used_memory_human"),
            "memory_bytes": info.get("used_memory"),
        }

    # Recommendations

    def set_recommendations(self, user_id: Id, recommendations: object, ttl: int = 3600) -> bool:
        """Store a user's recommendations for ``ttl`` seconds; False where that did not work.

        Args:
            recommendations: anything that JSON can hold; numpy numbers and arrays become numbers and lists.

        Raises:
            ParameterError: it is not JSON, or ``ttl`` is not a whole number of seconds above 0.
        """
        return self._set(keys.recommendations_user(user_id), _as_json(recommendations), ttl)

    def get_recommendations(self, user_id: Id) -> Any | None:
        """A user's recommendations, without what is blocked for the user or hidden from everybody by now; None where
        there are none."""
        return (self.get_recommendations_many([user_id]) or {}).get(user_id)

    def set_recommendations_many(self, recommendations: Mapping[Id, object], ttl: int = 3600) -> bool:
        """``set_recommendations`` for each user, ``BATCH`` in a round trip; True where all were stored."""
        return self._set_many(
            ((keys.recommendations_user(user_id), _as_json(items)) for user_id, items in recommendations.items()), ttl
        )

    def get_recommendations_many(self, user_ids: Iterable[Id]) -> dict[Id, Any | None] | None:
        """Each user's recommendations (None where there are none), ``BATCH`` in a round trip; None while Redis is
        down."""
        wanted = list(dict.fromkeys(user_ids))
        listed = self.get_lists([StoredList(keys.recommendations_user(user_id), user_id) for user_id in wanted])
        return None if listed is None else dict(zip(wanted, listed, strict=True))

    def get_lists(self, lists: Iterable[StoredList]) -> list[Any | None] | None:
        """Lists of any kind (recommendations, popular, similar), without what is blocked by now; None while Redis is
        down.

        ``BATCH`` in a round trip; where there are blocks, two.
        """
        found: list[Any | None] = []
        for batch in _batches(lists):
            stored = self.attempt("GET", f"{batch[0].key} …", partial(_fetch, batch))
            if stored is None:
                return None
            listed = [_decoded(one.key, value, _from_json) for one, value in zip(batch, stored.values, strict=True)]
            if stored.has_blocks:
                # Where this cannot be asked, nothing is shown: what was taken down must not come back with an error.
                blocked = self.attempt("SMISMEMBER", keys.BLOCKS_ITEMS, partial(_blocked_in, batch, listed))
                if blocked is None:
                    return None
                listed = [without_blocked(one, items) for one, items in zip(listed, blocked, strict=True)]
            found += listed
        return found

    # Embeddings

    def set_embeddings(self, key: str, embeddings: object, ttl: int = 86400) -> bool:
        """Store embeddings for ``ttl`` seconds; False where that did not work.

        Args:
            embeddings: plain containers, scalars, strings and numpy arrays without objects.

        Raises:
            ParameterError: it holds anything else, or ``ttl`` is not a whole number of seconds above 0.
        """
        return self._set(keys.embeddings(key), _as_pickle(embeddings), ttl)

    def get_embeddings(self, key: str) -> Any | None:
        """The embeddings under ``key``, or None where there are none; a hostile pickle is refused, logged and never
        run."""
        return self._get(keys.embeddings(key), plain_pickle.loads)

    def set_embeddings_many(self, embeddings: Mapping[str, object], ttl: int = 86400) -> bool:
        """``set_embeddings`` for each key, ``BATCH`` in a round trip; True where all were stored."""
        return self._set_many(((keys.embeddings(key), _as_pickle(value)) for key, value in embeddings.items()), ttl)

    def get_embeddings_many(self, embedding_keys: Iterable[str]) -> dict[str, Any | None] | None:
        """The embeddings under each key (None where there are none), ``BATCH`` in a round trip; None while Redis is
        down."""
        return self._get_many({key: keys.embeddings(key) for key in embedding_keys}, plain_pickle.loads)

    # Keys

    def delete_key(self, key: str) -> bool:
        """Delete a key by its whole name; True where it was there."""
        return bool(self.attempt("DEL", key, lambda client: client.delete(key)))

    def delete_keys(self, names: Iterable[str]) -> int | None:
        """Delete keys by their whole names; how many were there, or None while Redis is down."""
        n_deleted = 0
        for batch in _batches(names):
            answer = self.attempt("DEL", f"{batch[0]} …", partial(_delete, batch))
            if answer is None:
                return None
            n_deleted += int(answer)
        return n_deleted

    # The four forms

    def _set(self, key: str, value: bytes, ttl: int) -> bool:
        ttl_s = _checked_ttl(ttl)
        return bool(self.attempt("SET", key, lambda client: client.set(key, value, ex=ttl_s)))

    def _get(self, key: str, decode: Callable[[Any], Any]) -> Any | None:
        return _decoded(key, self.attempt("GET", key, lambda client: client.get(key)), decode)

    def _set_many(self, items: Iterable[tuple[str, bytes]], ttl: int) -> bool:
        ttl_s = _checked_ttl(ttl)

        for batch in _batches(items):
            answers = self.attempt("SET", f"{batch[0][0]} …", partial(_write, batch, ttl_s))
            if answers is None or not all(answers):
                return False
        return self._client is not None

    def _get_many(self, names: dict[Any, str], decode: Callable[[Any], Any]) -> dict[Any, Any | None] | None:
        found: dict[Any, Any | None] = {}
        for batch in _batches(names.items()):
            asked = [key for _, key in batch]
            values = self.attempt("MGET", f"{asked[0]} …", partial(_read, asked))
            if values is None:
                return None
            for (name, key), value in zip(batch, values, strict=True):
                found[name] = _decoded(key, value, decode)
        return found


def _fetch(lists: list[StoredList], client: redis.Redis) -> StoredLists:
    return fetch(client, lists)


def _blocked_in(lists: list[StoredList], listed: list[Any], client: redis.Redis) -> list[set[Id]]:
    return blocked_in(client, lists, listed)


def _write(batch: list[tuple[str, bytes]], ttl_s: int, client: redis.Redis) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for key, value in batch:
            pipeline.set(key, value, ex=ttl_s)
        answers: list[Any] = pipeline.execute()
        return answers


def _read(names: list[str], client: redis.Redis) -> Any:
    return client.mget(names)


def _delete(names: list[str], client: redis.Redis) -> Any:
    return client.delete(*names)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _checked_ttl(ttl: int) -> int:
    if isinstance(ttl, bool) or not isinstance(ttl, int) or ttl <= 0:
        raise ParameterError(f"ttl must be a whole number of seconds above 0, got {ttl!r}")
    return ttl


def _as_json(value: object) -> bytes:
    try:
        text = json.dumps(value, default=_plain_number, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"recommendations must be JSON data: {error}") from None


def _plain_number(value: Any) -> Any:
    # numpy's scalars and arrays have it; numpy itself is not imported on the thin side.
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {str(value)[:60]} is not JSON")


def _from_json(value: bytes | str) -> Any:
    return json.loads(value)


def _as_pickle(value: object) -> bytes:
    try:
        return plain_pickle.dumps(value)
    except plain_pickle.PlainPickleError as error:
        raise ParameterError(f"embeddings must be plain data: {error}") from None


def _decoded(key: str, value: Any, decode: Callable[[Any], Any]) -> Any | None:
    if value is None:
        return None
    try:
        return decode(value)
    except (ValueError, TypeError, RecursionError) as error:
        logger.warning("The value under %s was refused: %s", key, error)
        return None
