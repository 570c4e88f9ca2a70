"""Kernels: compiled once, cached, and usable where nothing can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import timbral

FIT = """
import numpy as np
from timbral.models.nmf_model import NMFModel
print(NMFModel(2, max_iter=3).fit(np.eye(4)).predict([0], [0]).shape)
"""

NOTHING_CAN_BE_WRITTEN = """
import numba.core.caching as caching
def refuse(self): raise OSError("read-only")
caching._CacheLocator.ensure_cache_path = refuse
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_importing_the_model_compiles_nothing() -> None:
    done = run("import timbral.models.nmf_model\nfrom timbral.models.kernels.kernel import KERNELS\n"
               "print(len(KERNELS) > 5, [k.__name__ for k in KERNELS if k._compiled])")  # fmt: skip

    assert done.stdout == "True []\n", done.stderr


def test_a_process_that_cannot_write_the_cache_fits_all_the_same() -> None:
    done = run(NOTHING_CAN_BE_WRITTEN + FIT)

    assert done.stdout == "(1,)\n", done.stderr
    assert "No folder for numba's cache" in done.stderr


def test_the_compile_command_fills_a_cache_that_a_fit_then_uses(tmp_path: Path) -> None:
    compiled = run(
        "import runpy; runpy.run_module('timbral.models.kernels.compile', run_name='__main__')",
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}

    done = run(FIT, NUMBA_CACHE_DIR=str(tmp_path))

    assert "descend_weighted" in compiled.stdout, compiled.stderr
    assert len(files) > 10
    assert done.stdout == "(1,)\n", done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")} == files


def test_a_change_of_any_module_that_a_kernel_may_have_inlined_makes_the_cache_stale(tmp_path: Path) -> None:
    package = tmp_path / "timbral"
    shutil.copytree(Path(timbral.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    hits = (
        "from timbral.models.engine.balance import _add_squares as kernel\n"
        "kernel.compile()\nprint(sum(kernel._dispatcher.stats.cache_hits.values()))"
    )
    environment = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    first, second = run(hits, **environment), run(hits, **environment)
    with (package / "models" / "side_by_side.py").open("a") as file:
        file.write("# changed\n")
    third = run(hits, **environment)

    assert [first.stdout, second.stdout, third.stdout] == ["0\n", "1\n", "0\n"], first.stderr
