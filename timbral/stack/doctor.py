"""What ``timbral doctor`` looks at: this machine, Redis, the fleet and the model; each with what to do about it.

Nothing is changed: where a right has to be tried, it is tried on something that is not there.
"""

from __future__ import annotations

import calendar
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import redis

from timbral import extras, keys
from timbral.config.settings import Settings, public_address
from timbral.errors import ParameterError, TimbralError
from timbral.queue import layout
from timbral.queue.fleet_state import alive_workers
from timbral.redis_server.client import connect
from timbral.redis_server.limits import RedisLimits
from timbral.redis_server.refusals import to_do
from timbral.redis_server.replies import server_now_s, text

__all__ = ["Check", "State", "examine"]

State = Literal["ok", "note", "problem"]

OLDEST_PYTHON: Final = (3, 11)
OLDEST_REDIS: Final = (6, 2)
LITTLE_DISK_BYTES: Final = 2**30
LITTLE_MEMORY_BYTES: Final = 2**30
CGROUP: Final = Path("/sys/fs/cgroup")
MOST_CLOCK_S: Final = 5.0
OLD_MODEL_S: Final = 7 * 86_400
PATIENCE_S: Final = 2.0
SLOW_MS: Final = 50.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: how it is, and what to do, empty where nothing has to be."""

    what: str
    state: State
    said: str
    do: str = ""


def examine(settings: Settings) -> list[Check]:
    """Look at everything, with what ``settings`` say of it; takes seconds at most."""
    checks = [_python(), *_extras(), *_disk(settings), _memory(), *_ports(settings)]
    servers = {"Redis": settings.redis_url}
    if settings.broker_url != settings.redis_url:
        servers["Redis of the queue"] = settings.broker_url
    reached = True
    for name, url in servers.items():
        with connect(url, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S) as client:
            found = list(_redis(name, url, client))
        checks += found
        reached = reached and found[0].state != "problem"
    if reached:
        checks += _fleet(settings)
    return checks


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("Python", "problem", found, "install Python 3.11 or newer")
    return Check("Python", "ok", found)


def _extras() -> Iterator[Check]:
    here, missing = [], []
    for name in extras.MODULES:
        try:
            extras.require("this", name)
            here.append(name)
        except ParameterError:
            missing.append(name)
    said = f"installed: {', '.join(here) or 'none'}"
    if missing:
        do = f"where they are needed: pip install 'timbral[{','.join(missing)}]'"
        yield Check("Extras", "note", f"{said}; not installed: {', '.join(missing)}", do)
    else:
        yield Check("Extras", "ok", said)


def _disk(settings: Settings) -> Iterator[Check]:
    for name in ("MODEL_DIR", "DATA_DIR"):
        folder: Path = getattr(settings, name)
        what = f"Disk of {name}"
        standing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        free = shutil.disk_usage(standing).free
        said = f"{free / 2**30:.1f} GiB free for {folder}"
        if not folder.is_dir():
            yield Check(what, "note", f"{folder} is not there", "timbral up and a training make it; or set " + name)
        elif free < LITTLE_DISK_BYTES:
            yield Check(what, "problem", said, "make room: a model that cannot be written ends its training")
        else:
            yield Check(what, "ok", said)


def _left_of_limit() -> int | None:
    """Bytes that the limit of this container leaves, by version 2 of cgroups or 1; None where there is no limit."""
    for limit_file, used_file, stat_file, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            limit, used = (int((CGROUP / file).read_text()) for file in (limit_file, used_file))
            stat = dict(line.split() for line in (CGROUP / stat_file).read_text().splitlines())
        except (OSError, ValueError):  # "max" is no number
            continue
        return max(0, limit - used + int(stat.get(cached, 0)))  # what files were read into is given back
    return None


def _memory() -> Check:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return Check("Memory", "note", "this system does not say how much is free")
    said = f"{free / 2**30:.1f} GiB available"
    left = _left_of_limit()
    if left is not None and left < free:
        free = left
        said = f"{free / 2**30:.1f} GiB available within this container's limit"
    if free < LITTLE_MEMORY_BYTES:
        return Check("Memory", "problem", said, "end something: a training needs some 3 times its data set")
    return Check("Memory", "ok", said)


def _ports(settings: Settings) -> Iterator[Check]:
    for what, port, do in (
        ("HTTP API", settings.API_PORT, "if that is not timbral: set API_PORT, or timbral serve --port"),
        ("Flower", 5555, "if that is not timbral: timbral up --flower-port"),
    ):
        with socket.socket() as tried:
            tried.settimeout(PATIENCE_S)
            is_taken = port != 0 and tried.connect_ex(("127.0.0.1", port)) == 0
        name = f"Port of the {what}" if what == "HTTP API" else f"Port of {what}"
        yield Check(name, "note", f"{port} is taken", do) if is_taken else Check(name, "ok", f"{port} is free")


def _redis(name: str, url: str, client: redis.Redis) -> Iterator[Check]:
    address = public_address(url)
    try:
        client.ping()  # connects, too
        begun = time.monotonic()
        client.ping()
        took_ms = (time.monotonic() - begun) * 1_000
    except redis.AuthenticationError as error:
        yield Check(name, "problem", f"{address} refuses us: {error}", "set REDIS_PASSWORD, or the user in REDIS_URL")
        return
    except (redis.RedisError, OSError) as error:
        do = to_do(error) or "start one (timbral up has its own), or say where it is: REDIS_URL"
        says = "refuses us" if isinstance(error, redis.ResponseError) else "does not answer"
        yield Check(name, "problem", f"{address} {says}: {error}", do)
        return
    said = f"{address} answers in {took_ms:.1f} ms"
    if took_ms > SLOW_MS:
        yield Check(
            name, "note", said, "all waits for it: is it far away, busy or swapping? redis-cli --latency; SLOWLOG GET"
        )
    else:
        yield Check(name, "ok", said)
    for look in (_version, _policy, _persistence, _permissions, _clock):
        try:
            yield from look(name, client)
        except (redis.RedisError, OSError) as error:
            state: State = "problem" if to_do(error) else "note"
            yield Check(f"{name}, {look.__name__.strip('_')}", state, f"it does not tell: {error}", to_do(error))


def _version(name: str, client: redis.Redis) -> Iterator[Check]:
    info: Any = client.info("server")
    kind = "Valkey" if "valkey_version" in info else "Redis"
    number = str(info.get("valkey_version") or info.get("redis_version"))
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if kind == "Redis" and parts < OLDEST_REDIS:
        yield Check(f"{name}, version", "problem", f"{kind} {number}", "use Redis 6.2 or newer, or Valkey")
    else:
        yield Check(f"{name}, version", "ok", f"{kind} {number}")


_ABOUT_LIMITS: Final = {
    "policy": "CONFIG SET maxmemory-policy volatile-ttl",
    "memory": "CONFIG SET maxmemory, with more than it has, and in its configuration",
    "replica": "REDIS_URL (BROKER_URL for the queue): the primary's address, or sentinel://… that follows a failover",
    "cluster": "docs/operations.md, under Redis Cluster, has what to set",
    "disk": "df -h where it writes, and its log",
    "connections": "CONFIG SET maxclients 10000",
}


def _policy(name: str, client: redis.Redis) -> Iterator[Check]:
    limits = RedisLimits.read(client)
    problems = limits.problem_of()
    if limits.is_silent:
        yield Check(f"{name}, policy", "note", problems["silent"])
        return
    used = f"{(limits.used_bytes or 0) / 2**20:.0f} MiB used"
    allowed = f" of {limits.limit_bytes / 2**20:.0f}" if limits.limit_bytes else ", no limit"
    if "policy" not in problems:
        yield Check(f"{name}, policy", "ok", f"{limits.policy}, {used}{allowed}")
    for kind, problem in problems.items():
        yield Check(f"{name}, {kind}", "problem", problem, _ABOUT_LIMITS[kind])


def _persistence(name: str, client: redis.Redis) -> Iterator[Check]:
    info: Any = client.info("persistence")
    if info.get("loading"):
        yield Check(f"{name}, persistence", "note", "it still loads its file", "wait a moment")
    elif not info.get("aof_enabled"):
        do = "appendonly yes: without it a restart loses what was sent since the last snapshot"
        yield Check(f"{name}, persistence", "note", "it keeps no append-only file", do)
    else:
        yield Check(f"{name}, persistence", "ok", "append-only file")


def _permissions(name: str, client: redis.Redis) -> Iterator[Check]:
    tried: dict[str, Callable[[], Any]] = {
        "read the live version": lambda: client.get(keys.MODEL_CURRENT),
        "see the queue": lambda: client.llen(layout.DEFAULT_QUEUE),
        "read lists": lambda: client.get(keys.RECOMMENDATIONS_POPULAR),
        "note what is sent": lambda: client.hdel(keys.SUBMITTED, "of no task"),
        "see dead letters": lambda: client.zcard(keys.DEAD_LETTERS),
    }
    refused = []
    for right, attempt in tried.items():
        try:
            attempt()
        except redis.exceptions.NoPermissionError:
            refused.append(right)
    if refused:
        do = "docs/security.md has the rights of each kind of user"
        yield Check(f"{name}, permissions", "note", f"this user may not {', nor '.join(refused)}", do)
    else:
        yield Check(f"{name}, permissions", "ok", "this user may read and send")


def _clock(name: str, client: redis.Redis) -> Iterator[Check]:
    apart = abs(server_now_s(client) - time.time())
    if apart > MOST_CLOCK_S:
        do = "set both clocks by NTP: ages and the times of plays are wrong"
        yield Check(f"{name}, clock", "problem", f"{apart:.0f} s apart from this machine's", do)
    else:
        yield Check(f"{name}, clock", "ok", f"{apart:.1f} s apart from this machine's")


def _fleet(settings: Settings) -> Iterator[Check]:
    options: Any = {"timeout_s": PATIENCE_S, "connect_timeout_s": PATIENCE_S}
    with connect(settings.broker_url, **options) as queue, connect(settings.redis_url, **options) as cache:
        try:
            workers = alive_workers(queue)
            letters = int(queue.zcard(keys.DEAD_LETTERS))
            version = text(cache.get(keys.MODEL_CURRENT))
        except redis.exceptions.NoPermissionError as error:
            yield Check("Fleet", "note", f"this user may not see it: {error}")
            return
        except redis.RedisError as error:
            yield Check("Fleet", "problem", f"it cannot be seen: {error}", to_do(error))
            return
    if workers:
        yield Check("Workers", "ok", f"{len(workers)}: {', '.join(sorted(workers)[:4])}")
    else:
        yield Check("Workers", "problem", "none takes tasks", "celery -A workers.app worker, or timbral up")
    if letters:
        yield Check("Dead letters", "problem", f"{letters:,} messages are parked", "timbral dead-letters list")
    yield _model(settings, version)


def _model(settings: Settings, version: str) -> Check:
    if not version:
        return Check("Model", "problem", "none is live", "timbral train FILE, or timbral train for the recorded plays")
    age_s = _age_s(version)
    file = settings.MODEL_DIR / f"{version}.safetensors"
    is_missing = settings.MODEL_DIR.is_dir() and not file.exists()
    damage = _damage(file) if file.exists() else ""
    if damage:
        do = "timbral models roll-back, or timbral train; until then workers serve an older version where they find one"
        return Check("Model", "problem", damage, do)
    if is_missing and settings.MODEL_ARCHIVE_URI is None:
        said = f"the file of {version} is not in {settings.MODEL_DIR}"
        return Check("Model", "note", said, "set MODEL_DIR to the workers' folder, or MODEL_ARCHIVE_URI")
    if age_s is not None and age_s > OLD_MODEL_S:
        said = f"{version} is {age_s / 86_400:.0f} days old"
        return Check("Model", "note", said, "timbral train, or RETRAIN_EVERY_S")
    return Check("Model", "ok", f"{version} is live")


def _damage(file: Path) -> str:
    """What is wrong with a model's file; empty where it is good, or where this install reads no models."""
    try:
        extras.require("this", "worker")
    except ParameterError:
        return ""
    from timbral.models.file.model_file import read

    try:
        read(file)
    except TimbralError as error:
        return str(error)
    return ""


def _age_s(version: str) -> float | None:
    try:
        moment = time.strptime(version.partition("-")[0] + " UTC", "%Y%m%dT%H%M%S %Z")
    except ValueError:
        return None
    return time.time() - calendar.timegm(moment)
