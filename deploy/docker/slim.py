"""Remove from an environment what no running service reads: tests, headers, type stubs, and pyarrow's Flight."""

import shutil
import sys
from pathlib import Path

# Below site-packages. pyarrow: flight is a server, gandiva an expression compiler.
UNUSED = (
    "*/tests", "*/*/tests", "*/*/*/tests",
    "pyarrow/include", "pyarrow/src", "pyarrow/includes", "pyarrow/*.pxd", "pyarrow/*.pyx", "pyarrow/*.pxi",
    "pyarrow/libarrow_flight*", "pyarrow/_flight*", "pyarrow/libgandiva*", "pyarrow/gandiva*",
    "pyarrow/libarrow_python_flight*",
    "numpy/_core/include", "**/*.pyi", "**/*.a",
)  # fmt: skip


def main() -> None:
    root = next(Path(sys.argv[1]).glob("lib/python*/site-packages"))
    for pattern in UNUSED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
