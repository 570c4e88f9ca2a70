"""``python -m timbral.models.kernels.compile``: compile all kernels into numba's cache, while an image is built.

Without it the first training of a machine waits for the compiler. ``NUMBA_CACHE_DIR`` chooses the cache's folder; by
default it is beside
the installed package, or in the user's cache folder where that cannot be written.
"""

from __future__ import annotations

import sys
import time

import timbral.models.nmf_model  # noqa: F401 - imports every module that has kernels
from timbral.models.kernels.kernel import KERNELS


def main() -> int:
    """Compile each kernel; the number of seconds it took (little where it was cached) goes to standard output."""
    for kernel in KERNELS:
        started = time.perf_counter()
        kernel.compile()
        sys.stdout.write(f"{kernel.__name__}: {time.perf_counter() - started:.2f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
