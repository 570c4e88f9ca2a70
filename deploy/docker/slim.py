"""Remove from an environment what no running service reads: tests, headers, stubs, parts of libraries, and symbols for
debuggers.

`make compose-test` runs the whole stack on what is left. What takes the room then is in docs/deploy.md.
"""

import shutil
import struct
import sys
from pathlib import Path

# Below site-packages. pyarrow: flight is a server, gandiva an expression compiler.
# Optuna writes its trials into a journal of ours, and into no database.
UNUSED = (
    "*/tests", "*/*/tests", "*/*/*/tests", "*/test", "*.dist-info/sboms",
    "pyarrow/include", "pyarrow/src", "pyarrow/includes", "pyarrow/*.pxd", "pyarrow/*.pyx", "pyarrow/*.pxi",
    "pyarrow/libarrow_flight*", "pyarrow/_flight*", "pyarrow/libgandiva*", "pyarrow/gandiva*",
    "pyarrow/libarrow_python_flight*",
    "pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.*.*.*", "numpy/_core/include", "numpy/distutils",
    "numba/cuda",
    "sqlalchemy", "alembic", "mako",
    "uvloop/*.c", "uvloop/*.pyx",
    "fastapi_offline/static/redoc*",
    "**/*.pyi", "**/*.a",
)  # fmt: skip
# Of scipy there are sparse matrices in this code, and nothing else: no solvers, and so no BLAS of scipy's own.
OF_SCIPY = {"_lib", "sparse", "__pycache__"}
# Rich colours Python alone, in tracebacks.
LEXERS = {"__init__.py", "_mapping.py", "python.py", "special.py", "__pycache__"}


def main() -> None:
    root = next(Path(sys.argv[1]).glob("lib/python*/site-packages"))
    found = [path for pattern in UNUSED for path in root.glob(pattern)]
    found += [path for path in root.glob("scipy/*/") if path.name not in OF_SCIPY]
    found += [root / "scipy.libs"]
    found += [path for path in root.glob("pygments/lexers/*") if path.name not in LEXERS]
    found += [
        path for path in root.glob("pygments/lexers/__pycache__/*") if f"{path.name.partition('.')[0]}.py" not in LEXERS
    ]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    for path in root.rglob("*.so*"):
        if path.is_file() and not path.is_symlink():
            cut_symbols(path)


def cut_symbols(path: Path) -> None:
    """Cut off what lies behind the last segment of a library: its symbols and its table of sections, which the loader
    reads neither of."""
    with path.open("r+b") as file:
        head = bytearray(file.read(64))
        if head[:5] != b"\x7fELF\x02" or head[5] != 1:
            return
        (table_at,), (entry_size, n_entries) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        end = 64
        for place in range(n_entries):
            file.seek(table_at + place * entry_size)
            _, _, offset, _, _, size = struct.unpack("<IIQQQQ", file.read(40))
            end = max(end, offset + size)
        struct.pack_into("<Q", head, 40, 0)  # where the sections are
        struct.pack_into("<HH", head, 60, 0, 0)  # how many, and which of them has their names
        file.seek(0)
        file.write(head)
        file.truncate(max(end, table_at + n_entries * entry_size))


if __name__ == "__main__":
    main()
