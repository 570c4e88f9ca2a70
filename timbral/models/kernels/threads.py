"""Running a kernel on several cores: plain threads, made for a call and gone after it.

numba's own parallel loops start a pool of threads in the process, which a Celery prefork child inherits broken. Threads
that live no longer than a call have no such trap, and several calls may run at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from timbral.config.cores import available_cores
from timbral.config.settings import settings
from timbral.errors import ParameterError

__all__ = ["Threads", "resolve_n_threads", "spans"]


def resolve_n_threads(n_threads: int | None) -> int:
    """Threads to use: ``n_threads``, or ``settings.N_THREADS`` where None; 0 means every core that the process may
    use."""
    chosen = settings.N_THREADS if n_threads is None else n_threads
    if isinstance(chosen, bool) or not isinstance(chosen, int | np.integer) or not 0 <= chosen <= 1024:
        raise ParameterError(f"n_threads must be an int from 0 (every core) to 1024, got {chosen!r}")
    return int(chosen) or available_cores()


class Threads:
    """A context in which ``run`` spreads calls over ``n_threads`` threads; with one thread, it calls in place."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.n_threads > 1:
            self._pool = ThreadPoolExecutor(self.n_threads, thread_name_prefix="timbral")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, call: Callable[[int, int], Any], parts: Iterable[tuple[int, int]]) -> None:
        """``call(start, stop)`` for each of ``parts``; the first error is raised here."""
        if self._pool is None:
            for start, stop in parts:
                call(start, stop)
            return
        for _ in self._pool.map(lambda part: call(*part), parts):
            pass


def spans(indptr: npt.NDArray[np.int64], row_cost: float, n_spans: int) -> list[tuple[int, int]]:
    """Cut rows into at most ``n_spans`` spans of about equal cost, where a row costs its entries plus ``row_cost``."""
    n_rows = len(indptr) - 1
    if min(n_rows, n_spans) <= 1:  # one user's, which their new list waits for
        return [(0, n_rows)] if n_rows > 0 else []
    cost = indptr.astype(np.float64) + np.arange(n_rows + 1) * row_cost
    marks = np.searchsorted(cost, np.linspace(0, cost[-1], min(n_spans, n_rows) + 1)[1:-1])
    edges = np.unique(np.concatenate(([0], marks, [n_rows])))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
