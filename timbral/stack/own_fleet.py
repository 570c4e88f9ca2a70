"""A server and a worker for one command, on a machine where nobody has said that there is a Redis and none is.

They work on the files of ``timbral up`` in this folder, so that what one command has trained the next one serves, and
``timbral up`` shows.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from timbral.config.cores import available_cores
from timbral.config.settings import Settings
from timbral.stack.embedded_server import EmbeddedServer
from timbral.stack.one_worker import one_worker
from timbral.stack.signals import signals_interrupt
from timbral.stack.up import REDIS_PORT, STATE_DIR, only_one

__all__ = ["has_state", "is_needed", "own_fleet", "own_server"]

ASK_S: Final = 0.5
OTHERS_END_S: Final = 60.0
"""How long one command waits for another in the same folder: reading takes a second, a training may take longer."""


def is_needed(settings: Settings) -> bool:
    """Whether no Redis was named, and none listens where one would be."""
    if settings.REDIS_URL is not None or settings.BROKER_URL is not None:
        return False
    try:
        with socket.create_connection(("127.0.0.1", REDIS_PORT), timeout=ASK_S):
            return False
    except OSError:
        return True


def has_state() -> bool:
    """Whether ``timbral up`` or a command with its own fleet has left something in this folder."""
    return (STATE_DIR / "redis").is_dir()


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """The server of this folder; gives its URL.

    Raises:
        SettingsError: another one runs in this folder.
        RedisUnavailableError: there is no server to start.
    """
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    pid_file = (STATE_DIR / "redis.pid").absolute()
    with (
        signals_interrupt(),
        only_one(STATE_DIR / "up.lock", pid_file, OTHERS_END_S),
        EmbeddedServer(STATE_DIR.absolute() / "redis", options={"pidfile": str(pid_file)}) as server,
    ):
        yield server.url


@contextlib.contextmanager
def own_fleet(settings: Settings, data_dir: Path) -> Iterator[str]:
    """The same with a worker, which reads data sets below ``data_dir``.

    Raises:
        TimbralError: the worker did not start; with the end of its log.
    """
    with own_server() as url:
        settings.MODEL_DIR.mkdir(parents=True, exist_ok=True)
        environment = {
            "DATA_DIR": str(data_dir.resolve()),
            "MODEL_DIR": str(settings.MODEL_DIR.absolute()),
            "HISTORY_URI": settings.history_uri
            if "://" in settings.history_uri
            else str(Path(settings.history_uri).absolute()),
        }
        if settings.REDIS_PASSWORD is not None:  # of another Redis: this one knows none, and takes any
            url = url.replace("://", "://default:none@", 1)
        with one_worker(url, STATE_DIR / "worker.log", environment, concurrency=max(1, min(4, available_cores()))):
            yield url
