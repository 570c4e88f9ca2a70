"""What a Redis server may do to the fleet: delete its queue for want of memory, refuse it writes or connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import redis

from timbral.config.settings import settings

__all__ = ["RedisLimits"]

SPARE_CONNECTIONS: Final = 16
"""What one more worker with two processes takes (docs/operations.md has the counts)."""
SPARE_SHARE: Final = 0.1


@dataclass(frozen=True)
class RedisLimits:
    """What the server says of itself; None where it does not say.

    Attributes:
        policy: maxmemory-policy, what is evicted when memory is full.
        used_bytes, limit_bytes: memory; a limit of 0 is none.
        connections, max_connections: clients that are connected, and that may be.
        hits, misses, evicted: counted since the server started.
        is_replica: whether it takes no writes but its primary's.
        cannot_save: whether its last write to its disk failed.
        is_cluster: whether it is a node of a Redis Cluster.
    """

    policy: str | None = None
    used_bytes: int | None = None
    limit_bytes: int | None = None
    connections: int | None = None
    max_connections: int | None = None
    hits: int | None = None
    misses: int | None = None
    evicted: int | None = None
    is_replica: bool = False
    cannot_save: bool = False
    is_cluster: bool = False

    @classmethod
    def read(cls, client: redis.Redis) -> Self:
        """Ask the server; one that refuses INFO says nothing.

        Raises:
            redis.ConnectionError, redis.TimeoutError: it cannot be reached.
        """
        try:
            info: Mapping[str, Any] = client.info()
        except redis.ResponseError:
            return cls()
        return cls(
            policy=info.get("maxmemory_policy"),
            used_bytes=info.get("used_memory"),
            limit_bytes=info.get("maxmemory"),
            connections=info.get("connected_clients"),
            max_connections=info.get("maxclients"),
            hits=info.get("keyspace_hits"),
            misses=info.get("keyspace_misses"),
            evicted=info.get("evicted_keys"),
            is_replica=info.get("role") == "slave",
            cannot_save="err" in (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status")),
            is_cluster=bool(info.get("cluster_enabled")),
        )

    @property
    def is_silent(self) -> bool:
        """Whether the server says nothing of its memory policy, so that nobody can check it."""
        return self.policy is None

    @property
    def may_evict_the_queue(self) -> bool:
        """Whether the policy lets keys go that have no TTL: messages, versions, jobs."""
        return (self.policy or "").startswith("allkeys-")

    @property
    def is_full(self) -> bool:
        """Whether it refuses writes for want of memory."""
        return self.policy == "noeviction" and 0 < (self.limit_bytes or 0) <= (self.used_bytes or 0)

    @property
    def is_short_of_connections(self) -> bool:
        """Whether one more worker might find no connection."""
        if self.connections is None or not self.max_connections:
            return False
        return self.max_connections - self.connections < max(SPARE_CONNECTIONS, SPARE_SHARE * self.max_connections)

    def problem_of(self) -> dict[str, str]:
        """A sentence for each kind of problem, and for what cannot be checked."""
        found = {}
        if self.is_silent:
            found["silent"] = (
                "it does not answer INFO, so its maxmemory-policy cannot be checked: it must be volatile-ttl"
            )
        if self.may_evict_the_queue:
            found["policy"] = (
                f"its maxmemory-policy {self.policy} deletes messages, models and jobs when memory is full: "
                "set it to volatile-ttl"
            )
        if self.is_full:
            found["memory"] = (
                f"its memory is full, {(self.used_bytes or 0) / 2**20:.0f} MiB, and it refuses writes: raise maxmemory"
            )
        if self.is_replica:
            found["replica"] = "it is a replica and refuses writes: name its primary"
        if self.is_cluster and not settings.CACHE_CLUSTER:
            found["cluster"] = (
                "it is a Redis Cluster, which cannot hold the queue, and the cache with CACHE_CLUSTER=true alone"
            )
        if self.cannot_save:
            found["disk"] = "it cannot write to its disk: make room there, or it refuses writes and loses them"
        if self.is_short_of_connections:
            found["connections"] = (
                f"{self.connections} of the {self.max_connections} connections it allows are taken: raise maxclients"
            )
        return found

    def problems(self) -> list[str]:
        """The sentences."""
        return list(self.problem_of().values())
