"""Whether a worker still takes tasks: ``python -m workers.watching.health [node name]``, for a container's health
check.

A worker notes every few seconds that its event loop turns and that Redis answers it; one that does not is of no use,
whatever else runs.
"""

from __future__ import annotations

import socket
import sys

import redis

from timbral.config.settings import public_address, settings
from timbral.queue.fleet_state import alive_workers
from timbral.redis_server.client import connect

__all__ = ["main", "short_client"]


def main(arguments: list[str] | None = None) -> int:
    """0 where the worker named takes tasks, or any of this host where none is named; else 1 and the reason on
    stderr."""
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
    return connect(url or settings.broker_url, timeout_s=3, connect_timeout_s=3)


if __name__ == "__main__":
    sys.exit(main())
