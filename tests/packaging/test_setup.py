"""tools/setup.sh, which makes the environment of `make demo` and `make test`: two at once do not undo one another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "tools" / "setup.sh"


def set_up(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it with a Python that is new enough and can make no environment, so that it ends there."""
    python = folder / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -m ] && exit 1\necho Python 3.11.0\n')
    python.chmod(0o755)
    return subprocess.run(
        ["sh", str(SETUP), "env"], cwd=folder, env={**os.environ, "PYTHON": str(python)}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip


def test_a_second_one_says_that_the_first_is_at_work_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env.setup").mkdir()
    (tmp_path / "env.setup" / "pid").write_text(str(os.getpid()))

    ran = set_up(tmp_path)

    assert ran.returncode == 1
    assert ran.stderr == f"Process {os.getpid()} sets env up already: try again when it has ended.\n"
    assert (tmp_path / "env").is_dir()
    assert (tmp_path / "env.setup" / "pid").exists()


def test_what_a_killed_one_left_is_in_nobodys_way(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    (tmp_path / "env.setup").mkdir()
    (tmp_path / "env.setup" / "pid").write_text(str(gone.pid))

    ran = set_up(tmp_path)

    assert "cannot make environments" in ran.stderr
    assert not (tmp_path / "env.setup").exists()
