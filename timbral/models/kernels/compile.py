"""``python -m timbral.models.kernels.compile``: compile all kernels into numba's cache, while an image is built.

Without it the first training of a machine waits for the compiler. ``NUMBA_CACHE_DIR`` chooses the cache's folder; by
default it is beside the installed package, or in the user's cache folder where that cannot be written. Names of kernels
behind the command compile these alone.
"""

from __future__ import annotations

import sys
import time

import timbral.models.nmf_model  # noqa: F401 - imports every module that has kernels
from timbral.models.kernels.kernel import KERNELS


def main(names: list[str]) -> int:
    """Compile the kernels of these names, all where there are none; the seconds that each took go to standard output.

    Returns 2 for a name that no kernel has.
    """
    unknown = set(names) - {kernel.__name__ for kernel in KERNELS}
    if unknown:
        sys.stderr.write(f"no kernel has this name: {', '.join(sorted(unknown))}\n")
        return 2
    for kernel in KERNELS:
        if names and kernel.__name__ not in names:
            continue
        started = time.perf_counter()
        kernel.compile()
        sys.stdout.write(f"{kernel.__name__}: {time.perf_counter() - started:.2f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
