"""Logs: one line an event, for a person or as JSON, with the same fields everywhere.

Modules log with ``logging.getLogger(__name__)``, or with ``structlog.get_logger(__name__)`` where they have fields to
add. What is known of the work in hand (``task``, ``job``, ``user``, ``version``) is bound once with ``bind`` and stands
in every line until ``unbind``.
"""

from __future__ import annotations

import logging
import sys
from logging.handlers import WatchedFileHandler
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from timbral.config.settings import settings

__all__ = ["bind", "configure", "unbind"]

QUIET = ("kombu", "amqp", "numba", "urllib3", "asyncio", "botocore")
"""Loggers that say nothing of use below WARNING, even with DEBUG."""


def configure(
    log_format: Literal["console", "json"] | None = None,
    *,
    debug: bool | None = None,
    level: int | None = None,
    stream: TextIO | None = None,
    path: str | None = None,
) -> None:
    """Send all of Python's logging, and structlog's, to ``stream`` (stderr) or a file, in one form.

    Args:
        log_format: "console" or "json"; ``settings.LOG_FORMAT`` where None.
        debug: log at DEBUG instead of INFO; ``settings.DEBUG`` where None.
        level: log at this level instead.
        path: of a file to append to; it may be moved away while it is written.
    """
    log_format = log_format or settings.LOG_FORMAT
    debug = settings.DEBUG if debug is None else debug
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor]
    if log_format == "json":
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=path is None and stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_celery_data, *last],
    )
    handler: logging.Handler = logging.StreamHandler(stream)
    if path is not None:
        handler = WatchedFileHandler(path, encoding="utf-8")
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level or (logging.DEBUG if debug else logging.INFO))
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def bind(**fields: Any) -> None:
    """Put ``fields`` into every line of this thread (and async task) from now on: task, job, user, version."""
    structlog.contextvars.bind_contextvars(**fields)


def unbind(*names: str) -> None:
    """Take fields out again; all of them where none is named."""
    if names:
        structlog.contextvars.unbind_contextvars(*names)
    else:
        structlog.contextvars.clear_contextvars()


def _without_celery_data(_logger: Any, _method: str, event: Any) -> Any:
    # Celery's own lines say all of it in their text, and carry it once more in this.
    event.pop("data", None)
    return event
