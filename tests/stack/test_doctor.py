"""``timbral doctor``: what it finds on real servers, and what it says to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from guarded_server import free_port

from timbral import keys
from timbral.config.settings import Settings, read_settings
from timbral.stack import doctor
from timbral.stack.doctor import Check, examine
from timbral.stack.embedded_server import EmbeddedServer


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as made:
        yield made


def settings(url: str, folder: Path, **more: str) -> Settings:
    return read_settings(REDIS_URL=url, MODEL_DIR=str(folder), DATA_DIR=str(folder), API_PORT="0", **more)


def found(settings: Settings) -> dict[str, Check]:
    return {check.what: check for check in examine(settings)}


def test_a_redis_that_is_away_is_the_problem_and_nothing_is_asked_of_it(tmp_path: Path) -> None:
    checks = found(settings("redis://127.0.0.1:1", tmp_path))

    assert checks["Redis"].state == "problem"
    assert "REDIS_URL" in checks["Redis"].do
    assert "Workers" not in checks
    assert checks["Python"].state == "ok"


def test_a_server_without_workers_and_without_a_model_says_what_to_start(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    checks = found(settings(server.url, tmp_path))

    for name in (
        "Redis",
        "Redis, version",
        "Redis, policy",
        "Redis, persistence",
        "Redis, permissions",
        "Redis, clock",
    ):
        assert checks[name].state == "ok", checks[name]
    assert checks["Workers"].state == "problem"
    assert "timbral up" in checks["Workers"].do
    assert checks["Model"].state == "problem"
    assert all(check.do for check in checks.values() if check.state == "problem")


def test_a_slow_server_is_worth_a_word(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SLOW_MS", 0.0)

    checks = found(settings(server.url, tmp_path))

    assert checks["Redis"].state == "note"
    assert "SLOWLOG" in checks["Redis"].do


def test_a_policy_that_evicts_the_queue_is_a_problem(server: EmbeddedServer, tmp_path: Path) -> None:
    with server.client() as client:
        before = client.config_get("maxmemory-policy")["maxmemory-policy"]
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            checks = found(settings(server.url, tmp_path))
        finally:
            client.config_set("maxmemory-policy", before)

    assert checks["Redis, policy"].state == "problem"
    assert "volatile-ttl" in checks["Redis, policy"].do


def test_a_user_with_few_rights_is_told_which_it_lacks(server: EmbeddedServer, tmp_path: Path) -> None:
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "poor", "on", ">p", "~recommendations:*", "-@all", "+ping", "+get", "+time"
        )
    url = server.url.replace("://", "://poor:p@")

    checks = found(settings(url, tmp_path))

    assert checks["Redis"].state == "ok"
    assert "may not read the live version" in checks["Redis, permissions"].said
    assert "read lists" not in checks["Redis, permissions"].said
    with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(url.replace(":p@", ":wrong@")) as wrong:
        wrong.ping()
    assert found(settings(url.replace(":p@", ":wrong@"), tmp_path))["Redis"].state == "problem"


def test_parked_messages_and_a_missing_file_are_seen(server: EmbeddedServer, tmp_path: Path) -> None:
    with server.client() as client:
        client.zadd(keys.DEAD_LETTERS, {"a": 1})
        client.set(keys.MODEL_CURRENT, "20200101T000000-1")
        client.zadd(keys.WORKERS, {"worker@here": client.time()[0]})
        try:
            checks = found(settings(server.url, tmp_path))
        finally:
            client.delete(keys.DEAD_LETTERS, keys.MODEL_CURRENT, keys.WORKERS)

    assert checks["Dead letters"].state == "problem"
    assert checks["Workers"].said == "1: worker@here"
    assert "is not in" in checks["Model"].said


def test_little_room_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LITTLE_DISK_BYTES", 2**62)
    monkeypatch.setattr(doctor, "LITTLE_MEMORY_BYTES", 2**62)

    checks = found(settings("redis://127.0.0.1:1", tmp_path))

    assert (checks["Disk of MODEL_DIR"].state, checks["Memory"].state) == ("problem", "problem")


@pytest.mark.parametrize(
    ("folder", "limit", "used", "cached"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_the_memory_is_what_the_container_may_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, limit: str, used: str, cached: str
) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in ((limit, f"{2**30}"), (used, f"{2**29}"), ("memory.stat", f"anon 7\n{cached} {2**28}")):
        (tmp_path / folder / name).write_text(f"{text}\n")
    monkeypatch.setattr(doctor, "CGROUP", tmp_path)

    memory = found(settings("redis://127.0.0.1:1", tmp_path))["Memory"]

    assert (memory.state, memory.said) == ("problem", "0.8 GiB available within this container's limit")


@pytest.mark.parametrize(
    ("make", "undo", "name", "says"),
    [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "Redis, replica", "refuses writes"),
        (
            "CONFIG SET maxmemory 1 maxmemory-policy noeviction",
            "CONFIG SET maxmemory 0 maxmemory-policy volatile-ttl",
            "Redis, memory",
            "is full",
        ),
        ("LPUSH model:current x", "DEL model:current", "Fleet", "WRONGTYPE"),
    ],
)
def test_a_server_that_answers_and_refuses_is_a_problem_by_its_name(
    server: EmbeddedServer, tmp_path: Path, make: str, undo: str, name: str, says: str
) -> None:
    with server.client() as client:
        client.execute_command(*make.split())
        try:
            checks = found(settings(server.url, tmp_path))
        finally:
            client.execute_command(*undo.split())

    assert checks[name].state == "problem"
    assert says in checks[name].said
    assert checks[name].do


def test_a_database_that_the_server_has_not_is_a_problem_with_a_way_out(server: EmbeddedServer, tmp_path: Path) -> None:
    check = found(settings(f"{server.url}/99", tmp_path))["Redis"]

    assert (check.state, "refuses us: DB index is out of range" in check.said) == ("problem", True)
    assert "REDIS_DB=0" in check.do


def test_a_model_whose_file_is_cut_off_is_a_problem(server: EmbeddedServer, tmp_path: Path) -> None:
    (tmp_path / "20260301T120000-7.safetensors").write_bytes(b"\x80\x00\x00\x00\x00\x00\x00\x00{")
    with server.client() as client:
        client.set(keys.MODEL_CURRENT, "20260301T120000-7")
        try:
            checks = found(settings(server.url, tmp_path))
        finally:
            client.delete(keys.MODEL_CURRENT)

    assert checks["Model"].state == "problem"
    assert "is cut off" in checks["Model"].said
    assert "roll-back" in checks["Model"].do


def test_a_cluster_in_place_of_a_single_server_is_a_problem(tmp_path: Path) -> None:
    # By itself the cluster's port is 10,000 higher, which a high free port leaves no room for.
    options = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with EmbeddedServer(tmp_path / "redis", append_only=False, options=options) as node:
        checks = found(settings(node.url, tmp_path))

    assert checks["Redis, cluster"].state == "problem"
    assert "CACHE_CLUSTER" in checks["Redis, cluster"].said
