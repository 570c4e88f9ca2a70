"""A server for as long as the demo runs, which it may fill; nothing is left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis

from timbral.config.settings import public_address
from timbral.errors import ParameterError, RedisUnavailableError
from timbral.redis_server.client import connect
from timbral.stack.embedded_server import EmbeddedServer

__all__ = ["demo_server"]


@contextlib.contextmanager
def demo_server(url: str | None, directory: Path) -> Iterator[str]:
    """URL of a server that the demo may fill: the one at ``url`` if its database is empty, else a private one.

    What the demo wrote into a server of the user's is removed at the end.

    Raises:
        ParameterError: the database at ``url`` holds something.
        RedisUnavailableError: nothing answers at ``url``, or no server can be started.
    """
    if url is None:
        with EmbeddedServer(directory / "redis") as server:
            yield f"{server.url}/0"
        return
    with connect(url, timeout_s=10, connect_timeout_s=3) as client:
        try:
            size = client.dbsize()
        except redis.RedisError as error:
            raise RedisUnavailableError(public_address(url), str(error)) from error
        if size:
            raise ParameterError(
                f"REDIS_URL {public_address(url)} holds {size} keys, and the demo only works in an empty database: "
                "name another one (redis://host:6379/9), or unset REDIS_URL and the demo starts a server of its own"
            )
        try:
            yield url
        finally:
            client.flushdb()
