"""SharedClient: one Redis client for all commands of a kombu channel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

__all__ = ["SharedClient"]


class SharedClient:
    """Of a channel of kombu's Redis transport, to be mixed in before it."""

    Client: Any
    pool: Any

    @cached_property
    def _shared_client(self) -> Any:
        return self.Client(connection_pool=self.pool)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """A client of the channel's connections. kombu makes one for each command, which takes as long as the
        command."""
        yield client or self._shared_client
