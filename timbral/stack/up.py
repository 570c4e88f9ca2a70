"""``timbral up``: the whole stack on one machine in one terminal: server, workers, scheduler, Flower, HTTP API.

Data sets are read from ./data and models kept in ./models (or where DATA_DIR and MODEL_DIR say); the server's and
Flower's files lie in ./.timbral. Everything listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import redis

from timbral.config.cores import available_cores
from timbral.config.settings import Settings, public_address, read_settings
from timbral.errors import SettingsError
from timbral.queue import layout
from timbral.queue.fleet_state import alive_workers
from timbral.stack.embedded_server import EmbeddedServer
from timbral.stack.signals import on_signals
from timbral.stack.supervisor import Program, Supervisor

__all__ = ["STATE_DIR", "Addresses", "only_one", "programs", "up"]

STATE_DIR: Final = Path(".timbral")
REDIS_PORT: Final = 6379
FLOWER_PORT: Final = 5555
SOFT_SHUTDOWN_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.05
"""What a running task gets at the end, unless SOFT_SHUTDOWN_S is set: somebody waits at the terminal."""


@dataclass(frozen=True)
class Addresses:
    """Where the parts of the stack are, and who gets into Flower (``user:password``)."""

    redis_url: str
    api_port: int
    flower_port: int
    flower_auth: str

    @property
    def api(self) -> str:
        """URL of the HTTP API."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def flower(self) -> str:
        """URL of Flower."""
        return f"http://127.0.0.1:{self.flower_port}"


def programs(settings: Settings, where: Addresses, concurrency: int) -> list[Program]:
    """The stack's processes beside the server.

    Args:
        settings: theirs are the same, save for the addresses.
        where: of all parts.
        concurrency: processes of the worker's pool; the trainer has one of its own.
    """
    # A password of another Redis, in the environment or .env, must not go to this one: it knows none and takes any.
    url = where.redis_url if settings.REDIS_PASSWORD is None else where.redis_url.replace("://", "://default:none@", 1)
    soft_s = settings.SOFT_SHUTDOWN_S if "SOFT_SHUTDOWN_S" in settings.model_fields_set else SOFT_SHUTDOWN_S
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "BROKER_URL": url,
        "API_HOST": "127.0.0.1",
        "API_PORT": str(where.api_port),
        "API_WORKERS": "1",
        "FLOWER_URL": where.flower,
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(where.flower_port),
        "FLOWER_BASIC_AUTH": where.flower_auth,
        "FLOWER_LOGGING": "error",  # it complains of each worker that is not there yet
        "FLOWER_DB": str(STATE_DIR.absolute() / "flower"),
        "SOFT_SHUTDOWN_S": str(soft_s),
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # a package of the app's own in this folder must not take the place of ours
    }
    celery = [sys.executable, "-m", "workers", "--quiet"]
    worker = [*celery, "worker", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    grace_s = soft_s + 10
    return [
        Program(
            "worker",
            [*worker, "-n", "worker@%h", "-Q", f"{layout.DEFAULT_QUEUE},{layout.BATCH_QUEUE}", "-c", str(concurrency)],
            environment,
            grace_s,
        ),
        Program("trainer", [*worker, "-n", "trainer@%h", "-Q", layout.TRAINING_QUEUE, "-c", "1"], environment, grace_s),
        Program("scheduler", [*celery, "beat"], environment),
        Program("flower", [*celery, "flower"], environment),
        Program("api", [sys.executable, "-m", "timbral.api.serve"], environment),
    ]


def up(
    *,
    concurrency: int | None = None,
    api_port: int | None = None,
    flower_port: int | None = None,
    open_browser: bool = False,
    out: IO[str] | None = None,
) -> int:
    """Run the stack until Ctrl-C or SIGTERM.

    Args:
        concurrency: processes of the worker's pool; one less than the cores, at most 4, where None.
        api_port: of the HTTP API; API_PORT, or a free one where that is taken, where None.
        flower_port: 5555, or a free one, where None.
        open_browser: show the console in a browser once it answers.
        out: where the lines go; standard output where None.

    Returns:
        0 when it was told to stop, 1 when one of the programs kept ending.

    Raises:
        SettingsError: a setting cannot be right, a port that was asked for is taken, or the folder is in use.
        RedisUnavailableError: there is no server to start, or it did not start.
    """
    settings = read_settings()
    flower_auth = os.environ.get("FLOWER_BASIC_AUTH") or f"admin:{secrets.token_urlsafe(9)}"
    if not all(flower_auth.partition(":")[::2]):
        raise SettingsError(["FLOWER_BASIC_AUTH: must be user:password"])
    out = out or sys.stdout
    for folder in (settings.DATA_DIR, settings.MODEL_DIR, STATE_DIR):
        folder.mkdir(parents=True, exist_ok=True)
    where = Addresses(
        redis_url="",
        api_port=free_port("api_port", api_port, settings.API_PORT),
        flower_port=free_port("flower_port", flower_port, FLOWER_PORT),
        flower_auth=flower_auth,
    )
    pid_file = (STATE_DIR / "redis.pid").absolute()
    with (
        only_one(STATE_DIR / "up.lock", pid_file),
        EmbeddedServer(
            STATE_DIR.absolute() / "redis",
            port=free_port("Redis", None, REDIS_PORT),
            options={"pidfile": str(pid_file)},
        ) as server,
    ):
        where = Addresses(server.url, where.api_port, where.flower_port, where.flower_auth)
        started = programs(settings, where, concurrency or max(1, min(4, available_cores() - 1)))
        supervisor = Supervisor(started, out, colour=out.isatty() and "NO_COLOR" not in os.environ)
        supervisor.say(
            f"Redis on {public_address(server.url)}, data sets in {settings.DATA_DIR}/, models in {settings.MODEL_DIR}/"
        )
        welcome = _Welcome(supervisor, where, server, settings, open_browser)

        def tick() -> None:
            if server.process is None or server.process.poll() is not None:
                supervisor.say("Redis ended; starting it again on the same files")
                server.start()
            welcome()

        with on_signals(supervisor.stop):
            code = supervisor.run(tick)
    supervisor.say("Everything has ended")
    return code


class _Welcome:
    """Says the addresses, once the HTTP API and Flower answer and both workers take tasks."""

    def __init__(
        self, supervisor: Supervisor, where: Addresses, server: EmbeddedServer, settings: Settings, open_browser: bool
    ) -> None:
        self._supervisor, self._where, self._server = supervisor, where, server
        self._settings, self._open_browser = settings, open_browser
        self._waiting = {f"{where.api}/health", f"{where.flower}/healthcheck", "worker", "trainer"}

    def __call__(self) -> None:
        if not self._waiting:
            return
        for url in [url for url in self._waiting if url.startswith("http")]:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=0.5):  # noqa: S310 - our own
                self._waiting.discard(url)
        with contextlib.suppress(redis.RedisError), self._server.client() as client:
            self._waiting -= {name.partition("@")[0] for name, age_s in alive_workers(client).items() if age_s < 10}
        if not self._waiting:
            where = self._where
            user, _, password = where.flower_auth.partition(":")
            is_usual = where.redis_url.endswith(f":{REDIS_PORT}")
            lines = [
                "Ready. Ctrl-C stops everything.",
                f"  Console    {where.api}       {_login_hint(self._settings)}",
                f"  HTTP API   {where.api}       for programs: /openapi.json, /docs",
                f"  Flower     {where.flower}       user {user}, password {password}",
                f"  Redis      {where.redis_url}" + ("" if is_usual else f"       export REDIS_URL={where.redis_url}"),
            ]  # fmt: skip
            self._supervisor.say("\n".join(lines))
            if self._open_browser and not webbrowser.open(where.api):
                self._supervisor.say(f"No browser to open here; the console is at {where.api}")


def _login_hint(settings: Settings) -> str:
    has_token = {name: bool(getattr(settings, name)) for name in ("API_TOKEN", "API_READ_TOKEN")}
    if has_token["API_READ_TOKEN"]:
        return "log in with API_TOKEN, or API_READ_TOKEN to look"
    return "log in with API_TOKEN to change things" if has_token["API_TOKEN"] else "open to all on this machine"


@contextlib.contextmanager
def only_one(path: Path, pid_file: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Refuse to start a second server in this folder, after ``wait_s`` in which the other one may end.

    Raises:
        SettingsError: another one runs here.
    """
    # Two servers on one append-only file would ruin it, be it that of another `up` or one that a SIGKILL left behind.
    with path.open("a") as lock:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(LOOK_AGAIN_S)
                    continue
                another = "another `timbral` command works" if wait_s else "another `timbral up` runs"
                text = f"{another} in {Path.cwd()}; wait for it, or start this one elsewhere"
                raise SettingsError([text]) from None
        pid = int(pid_file.read_text() or 0) if pid_file.exists() else 0
        if pid > 0:  # 0, of a file that was cut off, would be our own group
            with contextlib.suppress(ProcessLookupError, PermissionError):  # of another user: no server of ours
                os.kill(pid, 0)
                problem = f"the Redis of a `timbral up` that was killed still runs here: end it (kill {pid})"
                raise SettingsError([f"{problem}; if process {pid} is something else, remove {pid_file}"])
        yield


def free_port(name: str, asked: int | None, preferred: int) -> int:
    for port in (asked,) if asked else (preferred, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError as error:
                if asked:
                    raise SettingsError([f"{name}: cannot listen on 127.0.0.1:{port}: {error.strerror}"]) from error
                continue
            free: int = sock.getsockname()[1]
            return free
    raise SettingsError([f"{name}: no free port on 127.0.0.1"])
