"""What ``celery worker`` may be told: the pools and flags that are tried, and why the others are refused at the start.

docs/operations.md has the table. A refusal is better than a worker that looks well and loses what it holds.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import click
from click.core import ParameterSource

__all__ = ["POOLS", "log_level", "refusals", "warn"]

logger = logging.getLogger(__name__)

POOLS: Final = {
    "celery.concurrency.prefork": "prefork",
    "celery.concurrency.thread": "threads",
    "celery.concurrency.solo": "solo",
}
GREEN_POOL: Final = (
    "the pool {pool} is not supported: its greenlets share one thread, which factorisation holds for minutes, so "
    "that nothing renews "
    "what the worker has and nothing hears that it shall stop; use -P prefork, threads or solo"
)
REFUSED: Final = {
    "beat": "-B is not supported: run `celery -A workers.app beat` as a program of its own; two of them do no harm",
    "prefetch_multiplier": "--prefetch-multiplier is not supported: what a worker reserves beyond its processes, no other one can do",
    "time_limit": "--time-limit is not supported: set TASK_TIME_LIMIT_S and TRAIN_TIME_LIMIT_S",
    "soft_time_limit": "--soft-time-limit is not supported: set TASK_TIME_LIMIT_S and TRAIN_TIME_LIMIT_S",
    "statedb": "--statedb is not supported: cancelled jobs are remembered in Redis",
    "pool_start_method": "--pool-start-method is not supported: the pool's processes are forked, to share the model's memory",
}


def refusals(options: dict[str, Any]) -> list[str]:
    """Why a worker with these options does not start; none where it may.

    Args:
        options: of ``celery worker``, as click has read them.
    """
    pool = options.get("pool_cls") or options.get("pool")
    module = pool if isinstance(pool, str) else getattr(pool, "__module__", "")
    problems = []
    if module not in (*POOLS, *POOLS.values()):
        problems.append(GREEN_POOL.format(pool=module.removeprefix("celery.concurrency.")))
    return problems + [reason for name, reason in REFUSED.items() if _given(name)]


def _given(name: str) -> bool:
    """Whether this option of the command was given: on the command line, or by an environment variable for the
    command."""
    context = click.get_current_context(silent=True)
    source = None if context is None else context.get_parameter_source(name)
    return source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def log_level(level: int | None) -> int | None:
    """The level that somebody asked for with ``-l``; None where nobody did: Celery's default would hide what a worker
    does."""
    return level if _given("loglevel") else None


def warn(pool: Any) -> None:
    """Say in the worker's log what somebody should know of this pool."""
    name = POOLS.get(getattr(pool, "__module__", ""), "")
    if name in ("threads", "solo"):
        logger.warning(
            "The pool %s ends no hung task: TASK_TIME_LIMIT_S and TRAIN_TIME_LIMIT_S do not apply, and a task that "
            "crashes "
            "takes the whole worker with it",
            name,
        )
