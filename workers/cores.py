"""The cores of a host, shared by the processes of a worker's pool: with concurrency c, each uses a c-th of them."""

from __future__ import annotations

import os

import threadpoolctl

from timbral.config.cores import available_cores
from timbral.config.settings import settings

__all__ = ["limit_libraries", "share", "threads_per_process"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def threads_per_process(concurrency: int) -> int:
    """Threads for each of ``concurrency`` processes; ``settings.N_THREADS`` wins where it is set."""
    if settings.N_THREADS:
        return settings.N_THREADS
    return max(1, available_cores() // max(1, concurrency))


def share(concurrency: int) -> None:
    """In the worker's parent process: set how many threads the processes of its pool, made after this, may use."""
    n_threads = str(threads_per_process(concurrency))
    for name in VARIABLES:
        os.environ.setdefault(name, n_threads)


def limit_libraries() -> None:
    """In a process of the pool: hold libraries to that which were loaded before it was set."""
    threadpoolctl.threadpool_limits(int(os.environ[VARIABLES[0]]))
