"""``python -m timbral.models.kernels.compile``: compile all kernels into numba's cache, while an image is built.

Without it the first training of a machine waits for the compiler. ``NUMBA_CACHE_DIR`` chooses the cache's folder; by
default it is beside the installed package, or in the user's cache folder where that cannot be written. Names of kernels
behind the command compile these alone. Each core has a process of its own: numba compiles one kernel at a time.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import timbral.models.nmf_model  # noqa: F401 - imports every module that has kernels
from timbral.config.cores import available_cores
from timbral.models.kernels.kernel import KERNELS, compile_kernel


def main(names: list[str]) -> int:
    """Compile the kernels of these names, all where there are none; the seconds that each took go to standard output.

    Returns 2 for a name that no kernel has.
    """
    every = [kernel.__name__ for kernel in KERNELS]
    unknown = set(names) - set(every)
    if unknown:
        sys.stderr.write(f"no kernel has this name: {', '.join(sorted(unknown))}\n")
        return 2
    wanted = [name for name in every if name in names or not names]
    # Forked, for a new interpreter imports for longer than most kernels compile; numba has no thread yet.
    with ProcessPoolExecutor(min(available_cores(), len(wanted)), multiprocessing.get_context("fork")) as processes:
        started = time.perf_counter()
        for name, seconds in zip(wanted, processes.map(compile_kernel, wanted), strict=True):
            sys.stdout.write(f"{name}: {seconds:.2f} s\n")
        sys.stdout.write(f"{len(wanted)} kernels in {time.perf_counter() - started:.2f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
