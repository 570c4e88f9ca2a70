"""Kernels: compiled once, cached, and usable where nothing can be written."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba import int64

import timbral
from timbral.models.kernels.kernel import kernel

SUM = """
import numpy as np
from timbral.models.engine.balance import _add_squares as kernel
sums = np.zeros((2, 1))
kernel(np.ones(4, np.float32), np.array([[1.0], [2.0], [3.0], [4.0]], np.float32), 0, 4, sums)
print(sum(kernel._dispatcher.stats.cache_hits.values()), sums[0, 0])
"""

COMPILE = """
import runpy, sys
sys.argv = ["compile", "_add_squares"]
runpy.run_module("timbral.models.kernels.compile", run_name="__main__")
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
        timeout=250,
        check=False,
    )


def test_importing_the_model_compiles_nothing() -> None:
    done = run("import timbral.models.nmf_model\nfrom timbral.models.kernels.kernel import KERNELS\n"
               "print(len(KERNELS) > 5, [k.__name__ for k in KERNELS if k._compiled])")  # fmt: skip

    assert done.stdout == "True []\n", done.stderr


def test_a_process_that_cannot_write_the_cache_runs_its_kernels_all_the_same() -> None:
    done = run(NOTHING_CAN_BE_WRITTEN + SUM)

    assert done.stdout.endswith("30.0\n"), done.stderr
    assert "No folder for numba's cache" in done.stderr


def test_the_compile_command_fills_a_cache_that_a_run_then_uses(tmp_path: Path) -> None:
    compiled = run(COMPILE, NUMBA_CACHE_DIR=str(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}

    done = run(SUM, NUMBA_CACHE_DIR=str(tmp_path))

    assert compiled.stdout.startswith("_add_squares: "), compiled.stderr
    assert len(files) >= 2
    assert done.stdout == "1 30.0\n", done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")} == files


def test_a_name_that_no_kernel_has_is_refused() -> None:
    done = run(COMPILE.replace("_add_squares", "nobody"))

    assert (done.returncode, done.stderr) == (2, "no kernel has this name: nobody\n")


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


def test_a_kernel_whose_types_are_not_named_as_its_parameters_is_refused() -> None:
    """Of many positional arguments, two that change places would be a silent wrong answer."""
    with pytest.raises(TypeError, match=r"has the parameters \['start', 'stop'\], its signature \['stop', 'start'\]"):
        kernel(stop=int64, start=int64)(lambda start, stop: None)


def test_of_more_than_three_parameters_none_has_its_type_alone() -> None:
    unnamed = [
        f"{path.name}: {decorated.name}"
        for path in sorted((Path(timbral.__file__).parent / "models").rglob("*.py"))
        for decorated in ast.walk(ast.parse(path.read_text()))
        if isinstance(decorated, ast.FunctionDef)
        for call in decorated.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "kernel"
        if len(call.args) > 3 or any(isinstance(type_, ast.Starred) for type_ in call.args)
    ]

    assert unnamed == []


def test_a_kernel_with_a_long_parameter_list_says_what_each_is() -> None:
    of_a_parameter = re.compile(r"^    \w+=(?!True|False|\{).*", re.MULTILINE)
    untold = []
    for path in sorted((Path(timbral.__file__).parent / "models").rglob("*.py")):
        for signature, name in re.findall(r"^@kernel\((.*?)^\)\ndef (\w+)", path.read_text(), re.MULTILINE | re.DOTALL):
            listed = of_a_parameter.findall(signature)
            if len(listed) >= 8:
                untold += [f"{name}: {line.strip()}" for line in listed if "  # " not in line]

    assert untold == []
