"""Whether a service that is no worker does its work: ``python -m workers.watching.service_health
{api|flower|scheduler}``.

Flower's own ``/healthcheck`` says OK whatever happens; here it has to count the queues, which takes Redis and its
password. A scheduler is well while one of them is in charge.
"""

from __future__ import annotations

import base64
import sys
import urllib.request
from collections.abc import Callable
from typing import Final

import redis

from timbral import keys
from timbral.config.settings import settings
from workers.watching.health import short_client

__all__ = ["main"]

TIMEOUT_S: Final = 5.0


def api() -> str | None:
    """The HTTP API says that it is ready."""
    return _answers(f"http://127.0.0.1:{settings.API_PORT}/ready")


def flower() -> str | None:
    """Flower counts the queues for whoever knows its password."""
    from workers.watching import flowerconfig

    authorization = {}
    if flowerconfig.basic_auth:
        word = base64.b64encode(flowerconfig.basic_auth[0].encode()).decode()
        authorization = {"Authorization": f"Basic {word}"}
    return _answers(f"http://127.0.0.1:{flowerconfig.port}/api/queues/length", authorization)


def scheduler() -> str | None:
    """A scheduler is in charge: it renews its lock, or the lock would be gone."""
    return None if short_client(settings.redis_url).exists(keys.SCHEDULE_LOCK) else "no scheduler is in charge"


CHECKS: Final[dict[str, Callable[[], str | None]]] = {"api": api, "flower": flower, "scheduler": scheduler}


def _answers(url: str, headers: dict[str, str] | None = None) -> str | None:
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - a URL that was made here
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - a URL that was made here
        return None if reply.status == 200 else f"{url} answered {reply.status}"


def main(arguments: list[str] | None = None) -> int:
    """0 where the service does its work; else 1 and the reason on stderr."""
    (name,) = sys.argv[1:] if arguments is None else arguments
    try:
        problem = CHECKS[name]()
    except (OSError, redis.RedisError) as error:
        problem = str(error)
    if problem:
        sys.stderr.write(f"{name}: {problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
