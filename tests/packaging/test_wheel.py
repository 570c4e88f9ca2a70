"""The wheel as an app installs it: our code with its types, and the Celery settings beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = """
from typing import reveal_type

import producers
from timbral.models.nmf_model import NMFModel
from workers.watching.health import main

reveal_type(producers.get_recommendations(1))
reveal_type(NMFModel(8).predict([0], [1]))
reveal_type(producers.enqueue_train_model)
reveal_type(main)
"""


@pytest.fixture(scope="module")
def python_with_the_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has timbral from its wheel, and what it needs from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=60)
    (site,) = folder.glob("venv/lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # As a path only: the .pth file there, which leads to the sources, is not read.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv/bin/python"


@pytest.mark.timeout(600)
def test_an_app_that_checks_its_types_strictly_sees_ours(python_with_the_wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--no-incremental"]

    done = subprocess.run(
        [*command, "--python-executable", str(python_with_the_wheel), "app.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env={name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    revealed = [line.partition("Revealed type is ")[2] for line in done.stdout.splitlines() if "Revealed" in line]
    assert len(revealed) == 4
    assert "dict" in revealed[0]
    assert "ndarray" in revealed[1]
    assert "producers.jobs.Job" in revealed[2]
    assert "int" in revealed[3]


def test_the_wheel_brings_the_celery_settings_and_the_pages_files(python_with_the_wheel: Path, tmp_path: Path) -> None:
    code = (
        "import timbral, producers; from pathlib import Path; from timbral.config.fleet_celery import celery_settings\n"
        "here = Path(timbral.__file__).parent; assert 'venv' in str(here) and 'site-packages' in str(here), here\n"
        "assert (here / 'console/templates/base.html').is_file() and (here / 'py.typed').is_file()\n"
        "assert Path(celery_settings().__file__).parent == here.parent and celery_settings().task_acks_late\n"
    )

    subprocess.run([python_with_the_wheel, "-c", code], cwd=tmp_path, check=True, timeout=200)
