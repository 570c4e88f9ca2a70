"""``timbral serve``: the HTTP API's processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile

from timbral import logs
from timbral.config.settings import Settings, read_settings
from timbral.errors import SettingsError

__all__ = ["main", "serve"]

BACKLOG = 2048
LIMIT_CONCURRENCY = 1000
"""Connections of one process; the next one gets 503."""
GRACE_S = 5
KEEP_ALIVE_S = 20


def serve(*, host: str | None = None, port: int | None = None, workers: int | None = None) -> None:
    """Run the API until it is told to stop; what is given wins over API_HOST, API_PORT and API_WORKERS.

    Raises:
        SettingsError: a setting cannot be right; or the address is not loopback and there is no API_TOKEN.
    """
    given = {"API_HOST": host, "API_PORT": port, "API_WORKERS": workers}
    # The processes read their settings from the environment, as this one does.
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    settings = read_settings()
    logs.configure()

    from timbral.api.middleware.auth import check_not_open_to_the_world

    check_not_open_to_the_world(settings)
    listening = _listen(settings)
    address = f"http://{_shown(settings.API_HOST)}:{listening.getsockname()[1]}"
    print(f"timbral listens on {address} ({settings.API_WORKERS} processes)", file=sys.stderr, flush=True)
    counters = tempfile.mkdtemp(prefix="timbral-http-") if settings.API_WORKERS > 1 else None
    if counters is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
    try:
        # uvicorn stops in good order and then sends the signal to itself once more.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            _run(settings, listening)
    finally:
        listening.close()
        if counters is not None:
            shutil.rmtree(counters, ignore_errors=True)


def _run(settings: Settings, listening: socket.socket) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "timbral.api.app:app_from_environment",
        factory=True,
        workers=settings.API_WORKERS,
        loop="uvloop",
        http="timbral.api.middleware.protocol:BoundedHead",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=settings.DEBUG,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=LIMIT_CONCURRENCY,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    if settings.API_WORKERS == 1:
        uvicorn.Server(config).run(sockets=[listening])
    else:
        Multiprocess(config, sockets=[listening]).run()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.API_HOST else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.API_HOST, settings.API_PORT))
        made.listen(BACKLOG)  # who comes while the processes start waits, and is not refused
    except (OSError, OverflowError) as error:
        made.close()
        where = f"{settings.API_HOST}:{settings.API_PORT}"
        raise SettingsError([f"API_HOST, API_PORT: cannot listen on {where}: {error}"]) from error
    made.set_inheritable(True)
    return made


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def main() -> int:
    """``python -m timbral.api.serve``; exit code 2 where the settings cannot be right."""
    try:
        serve()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
