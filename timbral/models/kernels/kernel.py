"""Kernels: functions compiled by numba, with one fixed signature each, cached on disk.

Importing a module that has kernels compiles nothing: a kernel is compiled, or read from numba's cache, at its first
call. Its arrays are declared read-only where it only reads, so that arrays mapped from a model file need no second
compilation. Kernels release the GIL and start no threads; ``timbral.models.kernels.threads`` runs them on several
cores.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import types

__all__ = ["KERNELS", "Kernel", "compile_kernel", "kernel", "matrix", "sources_digest", "vector"]

logger = logging.getLogger(__name__)

KERNELS: list[Kernel] = []
"""Every kernel of the modules that have been imported; ``python -m timbral.models.kernels.compile`` compiles them
all."""


def vector(dtype: types.Type, *, writable: bool = False) -> types.Array:
    """numba's type of a contiguous vector."""
    return types.Array(dtype, 1, "C", readonly=not writable)


def matrix(dtype: types.Type, *, writable: bool = False) -> types.Array:
    """numba's type of a C-contiguous matrix."""
    return types.Array(dtype, 2, "C", readonly=not writable)


@functools.cache
def sources_digest() -> str:
    """What the modules of timbral.models are: a kernel compiled from others, or a training that others began, is
    another one."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Kernel:
    """A function that is compiled for ``signature`` at its first call."""

    def __init__(
        self, function: Callable[..., Any], signature: tuple[types.Type, ...], options: dict[str, Any]
    ) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.signature = signature
        self._lock = threading.Lock()
        self._compiled: Callable[..., Any] | None = None
        try:
            self._dispatcher = numba.njit(nogil=True, cache=True, **options)(function)
            # numba watches the kernel's own file only, and much of a kernel is inlined from others. This is no public
            # part of numba.
            cache_file = getattr(self._dispatcher._cache, "_cache_file", None)
            if cache_file is not None:
                cache_file._source_stamp = sources_digest()
        except RuntimeError:  # numba found no folder that it may write to
            logger.warning("No folder for numba's cache: %s is compiled anew in each process", self.__name__)
            self._dispatcher = numba.njit(nogil=True, **options)(function)
        KERNELS.append(self)

    def compile(self) -> Callable[..., Any]:
        """Compile, or read from the cache; at most once in a process."""
        with self._lock:
            if self._compiled is None:
                self._dispatcher.compile(self.signature)
                self._dispatcher.disable_compile()
                if self._dispatcher.stats.cache_misses:
                    # numba's cache goes by the folder of the sources: what was compiled elsewhere is not found.
                    logger.info("Compiled %s: numba's cache had none of this code in this place", self.__name__)
                self._compiled = self._dispatcher
            return self._compiled

    def __call__(self, *args: Any) -> Any:
        return (self._compiled or self.compile())(*args)


def kernel(*unnamed: types.Type, **given: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator that makes a Kernel: each parameter of the function and its numba type, in their order, and options of
    ``numba.njit``. Of few parameters the types may stand alone.

    Raises:
        TypeError: they are not those of the function.
    """
    signature = {name: one for name, one in given.items() if isinstance(one, types.Type)}
    options = {name: one for name, one in given.items() if name not in signature}

    def decorate(function: Callable[..., Any]) -> Kernel:
        parameters = list(inspect.signature(function).parameters)
        if unnamed and not signature:
            return Kernel(function, unnamed, options)
        if unnamed or parameters != list(signature):
            raise TypeError(f"{function.__name__} has the parameters {parameters}, its signature {list(signature)}")
        return Kernel(function, tuple(signature.values()), options)

    return decorate


def compile_kernel(name: str) -> float:
    """Compile the kernel of this name, one of an imported module, and return the seconds that it took."""
    started = time.perf_counter()
    next(one for one in KERNELS if one.__name__ == name).compile()
    return time.perf_counter() - started
