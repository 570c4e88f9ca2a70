"""Whether a worker still takes tasks: ``python -m workers.watching.health [node name]``, for a container's health check.

A worker notes every few seconds that its event loop turns and that Redis answers it; one that does not is of no use, whatever else runs.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import redis

from timbral import keys
from timbral.config.settings import public_address, settings
from timbral.replies import server_now_s

__all__ = ["MAX_AGE_S", "alive_workers", "main", "short_client"]

MAX_AGE_S = 30.0
"""A worker whose last sign of life is older takes no tasks."""


def alive_workers(client: redis.Redis) -> dict[str, float]:
    """Node names of the workers that take tasks, each with the seconds since its last sign of life."""
    now = server_now_s(client)
    found: list[Any] = client.zrangebyscore(keys.WORKERS, now - MAX_AGE_S, "+inf", withscores=True)
    return {name.decode() if isinstance(name, bytes) else name: max(0.0, now - at) for name, at in found}


def main(arguments: list[str] | None = None) -> int:
    """0 where the worker named takes tasks, or any of this host where none is named; else 1 and the reason on stderr."""
    names = sys.argv[1:] if arguments is None else arguments
    try:
        alive = alive_workers(short_client())
    except redis.RedisError as error:
        sys.stderr.write(f"Redis at {public_address(settings.broker_url)} is not available: {error}\n")
        return 1
    host = f"@{socket.gethostname()}"
    if any(name in names if names else name.endswith(host) for name in alive):
        return 0
    sys.stderr.write(
        f"{names[0] if names else 'No worker of ' + host[1:]} takes tasks; those that do: {sorted(alive)}\n"
    )
    return 1


def short_client(url: str | None = None) -> redis.Redis:
    """A client that gives up soon; of the queue's Redis where no URL is given."""
    return redis.Redis.from_url(url or settings.broker_url, socket_timeout=3, socket_connect_timeout=3)


if __name__ == "__main__":
    sys.exit(main())
