"""Commands on a laptop without any server: what they need is started for them, and ends with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import producers
from producers.connections import connections
from timbral.cli.output import hint
from timbral.config.settings import settings
from timbral.errors import ParameterError, RedisUnavailableError
from timbral.extras import require

__all__ = ["data_dir_for", "is_at_hand", "server_at_hand", "worker_at_hand"]

NO_SERVER = "no Redis was named (REDIS_URL), and none is on this machine"

_worker_ends_with_us = False


def is_at_hand() -> bool:
    """Whether the worker is this command's own: nobody goes on with a job that the command leaves."""
    return _worker_ends_with_us


def data_dir_for(dataset: str | None) -> Path:
    """The folder that a worker of our own would read a data set below: DATA_DIR, or that of a file from elsewhere."""
    if dataset is None or "://" in dataset:
        return settings.DATA_DIR
    path = Path(dataset).expanduser()
    is_below = (settings.DATA_DIR / path).exists() or path.resolve().is_relative_to(settings.DATA_DIR.resolve())
    return settings.DATA_DIR if is_below or not path.exists() else path.resolve().parent


@contextlib.contextmanager
def worker_at_hand(dataset: str | None = None, *, wait: bool = True) -> Iterator[Path]:
    """Do a command's work with a server and a worker of our own where there is no Redis; gives the data folder.

    Raises:
        ParameterError: the command would not wait for its job, or the extras for a worker are missing; says the one
            command that helps.
    """
    from timbral.stack.own_fleet import is_needed, own_fleet

    global _worker_ends_with_us
    if not is_needed(connections().settings):
        yield settings.DATA_DIR
        return
    if not wait:
        raise ParameterError(f"{NO_SERVER}: nobody would do the job. timbral up starts everything")
    require("without a Redis this command", "worker", "embedded")
    data_dir = data_dir_for(dataset)
    hint(f"timbral: {NO_SERVER}: a server and a worker are started for this command")
    with own_fleet(settings, data_dir) as url:
        producers.connect(redis_url=url)
        _worker_ends_with_us = True
        try:
            yield data_dir
        finally:
            _worker_ends_with_us = False
            producers.connect()
    hint("timbral: kept in .timbral/ and models/. Next: timbral recommend, timbral show USER, timbral up")


@contextlib.contextmanager
def server_at_hand() -> Iterator[None]:
    """Read with the server of this folder where there is no Redis, and earlier commands have left something here."""
    from timbral.stack.own_fleet import has_state, is_needed, own_server

    if not is_needed(connections().settings):
        yield
        return
    if not has_state():
        raise RedisUnavailableError(
            "127.0.0.1:6379", f"{NO_SERVER}. timbral up starts everything; timbral train FILE does without it"
        )
    require("without a Redis this command", "embedded")
    with own_server() as url:
        producers.connect(redis_url=url)
        try:
            yield
        finally:
            producers.connect()
