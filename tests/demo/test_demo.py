"""The demo as a person runs it: a process of its own, its output, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from timbral.demo.synthetic import make_listening_history

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "timbral.cli", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "BROKER_"))}
    # The mark finds every process of this demo, whatever became of its parent.
    return kept | {"TMPDIR": str(scratch), "TIMBRAL_TEST_MARK": str(tmp_path)}


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    path = tmp_path / "history" / "plays.tsv"
    path.parent.mkdir()
    history = make_listening_history(n_users=300, n_items=200, artists_per_user=20)
    history.write_csv(path)
    path.write_text(path.read_text().replace('"', "").replace("user_id,item_id", "user,artist").replace(",", "\t"))
    return path


def marked_processes(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"TIMBRAL_TEST_MARK={mark}\0".encode() in (folder / "environ").read_bytes() + b"\0":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_the_demo_trains_on_a_file_with_other_names_and_shows_lists_and_leaves_nothing(
    environment: dict[str, str], plays: Path, tmp_path: Path
) -> None:
    run = subprocess.run(
        [*COMMAND, "--data", str(plays)], env=environment, capture_output=True, text=True, timeout=100, cwd=tmp_path
    )

    assert run.returncode == 0, run.stdout + run.stderr
    for shown in ("compute_recommendations", "recall@20", "NDCG@20", "popularity", "gets recommended", "'user'"):
        assert shown in run.stdout
    assert "recommendations:user:" in run.stdout
    assert marked_processes(str(tmp_path)) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_demo_shows_data_too_small_to_judge_by_and_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user,item\n1,2\n")

    run = subprocess.run(
        [*COMMAND, "--data", str(path)], env=environment, capture_output=True, text=True, timeout=100, cwd=tmp_path
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "No plays were held out to judge it by" in run.stdout
    assert "User 1 has played every item there is" in run.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_demo_leaves_nothing_when_it_is_interrupted(
    environment: dict[str, str], plays: Path, tmp_path: Path, wait_until: Callable[..., None], number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--data", str(plays)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
    )
    try:
        wait_until(lambda: len(marked_processes(str(tmp_path))) >= 4, 60, "server and worker of the demo")

        process.send_signal(number)

        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output.decode()
        assert b"Traceback" not in output
        wait_until(lambda: marked_processes(str(tmp_path)) == [], 20, "the end of every process of the demo")
        assert list((tmp_path / "scratch").iterdir()) == []
    finally:
        process.kill()
        process.wait()


def test_names_without_data_are_refused(environment: dict[str, str], tmp_path: Path) -> None:
    run = subprocess.run([*COMMAND, "--names", "n.tsv"], env=environment, capture_output=True, text=True, cwd=tmp_path)

    assert (run.returncode, run.stderr.startswith("timbral: --names goes with --data")) == (2, True), run.stderr


def test_bad_data_is_one_line_and_exit_code_2(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user,item,plays\n1,2,3\n1,3,many\n")

    run = subprocess.run(
        [*COMMAND, "--data", str(path)], env=environment, capture_output=True, text=True, timeout=100, cwd=tmp_path
    )

    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    assert "plays.csv" in run.stderr
    assert "many" in run.stderr
    assert marked_processes(str(tmp_path)) == []
