"""What redis-py raised, as our error: a server that is away is one thing, one that does not let its user is another."""

from __future__ import annotations

from redis.exceptions import NoPermissionError

from timbral.errors import RedisPermissionError, RedisUnavailableError

__all__ = ["as_ours"]


def as_ours(address: str, error: BaseException) -> RedisUnavailableError:
    """The error to raise from ``error``; ``address`` is without password."""
    kind = RedisPermissionError if isinstance(error, NoPermissionError) else RedisUnavailableError
    return kind(address, str(error))
