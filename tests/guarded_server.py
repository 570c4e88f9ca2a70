"""A server as it is deployed: deploy/redis/redis.conf with the users of users.acl; with TLS where asked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest
import redis

from timbral.stack.embedded_server import find_server_binary

ROOT = Path(__file__).parents[1]
PASSWORDS = {
    "admin": "an admin's pass word",
    "worker": "worker/pass@word:with%signs",
    "app": "app-password",
    "producer": "producer-password",
    "reader": "reader-password",
}
VARIABLES = {
    "admin": "REDIS_ADMIN_PASSWORD",
    "worker": "REDIS_PASSWORD",
    "app": "APP_PASSWORD",
    "producer": "PRODUCER_PASSWORD",
    "reader": "READER_PASSWORD",
}


def users_acl(passwords: dict[str, str], key_prefix: str = "") -> str:
    """What deploy/redis/users.sh prints for these users' passwords."""
    environment = {
        "PATH": os.environ["PATH"],
        "KEY_PREFIX": key_prefix,
        **{VARIABLES[user]: word for user, word in passwords.items()},
    }
    command = ["sh", str(ROOT / "deploy/redis/users.sh")]
    return subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout


class GuardedServer:
    """A server process with users; ``url(user)`` is what that user puts into REDIS_URL."""

    def __init__(
        self, folder: Path, *, binary: Path | None = None, tls: dict[str, str] | None = None, key_prefix: str = ""
    ) -> None:
        self.folder = folder
        self.key_prefix = key_prefix
        self.port = free_port()
        self.tls = tls
        self.binary = binary or find_server_binary()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, user: str, password: str | None = None) -> str:
        """URL for ``user`` with their password, or another one."""
        secret = quote(PASSWORDS[user] if password is None else password, safe="")
        return f"{'rediss' if self.tls else 'redis'}://{user}:{secret}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> redis.Redis:
        """A client logged in as ``user``."""
        options = {"ssl_ca_certs": self.tls["tls-ca-cert-file"]} if self.tls else {}
        return redis.Redis.from_url(self.url(user), socket_timeout=5, **options)

    def start(self) -> Self:
        """Start it and wait until it answers."""
        acl = self.folder / "users.acl"
        acl.write_text(users_acl(PASSWORDS, self.key_prefix))
        port = {"port": "0", "tls-port": str(self.port), **self.tls} if self.tls else {"port": str(self.port)}
        options = {**port, "bind": "127.0.0.1", "dir": str(self.folder), "aclfile": str(acl)}
        options["logfile"] = str(self.folder / "server.log")
        command = [str(self.binary), str(ROOT / "deploy/redis/redis.conf")]
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + 90
        with self.client("admin") as admin:
            while time.monotonic() < deadline and self.process.poll() is None:
                with contextlib.suppress(redis.ConnectionError):
                    admin.ping()
                    return self
                time.sleep(0.02)
        self.stop()
        log = self.folder / "server.log"
        pytest.fail(f"the server did not start: {log.read_text()[-1500:] if log.exists() else 'no log'}")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


def tls_binary() -> Path | None:
    """A server that was built with TLS, if this machine has one: TIMBRAL_TLS_SERVER, else the server that tests use."""
    binary = Path(os.environ.get("TIMBRAL_TLS_SERVER") or find_server_binary())
    # Without a certificate neither starts; what it says tells which of the two it is.
    command = [str(binary), "--port", "0", "--tls-port", "1", "--save", ""]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd="/tmp")
    return binary if "configure TLS" in printed.stdout + printed.stderr else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
