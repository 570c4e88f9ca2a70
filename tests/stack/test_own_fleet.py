"""Commands on a machine without any Redis: what they need is there for as long as they run, and what came of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from taste import history, write_history

from timbral import keys
from timbral.config.settings import read_settings
from timbral.errors import SettingsError
from timbral.stack.own_fleet import is_needed
from timbral.stack.up import REDIS_PORT, only_one


def somebody_listens() -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", REDIS_PORT)) == 0


nobody_listens = pytest.mark.skipif(somebody_listens(), reason=f"something listens on port {REDIS_PORT} here")


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "BROKER_"))}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "timbral.cli", *arguments], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


@pytest.mark.integration
@nobody_listens
def test_a_file_is_trained_on_without_any_server_and_the_model_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_history(tmp_path / "plays.csv", history())

    trained = run(tmp_path, "train", "plays.csv")
    again = run(tmp_path, "show", "1003")

    assert trained.returncode == 0, trained.stderr
    assert "the first model" in trained.stdout
    assert "a server and a worker are started for this command" in trained.stderr
    assert "timbral recommend, timbral show USER, timbral up" in trained.stderr
    assert again.returncode == 1, again.stderr  # there is a server, and no list yet
    assert "timbral recommend writes them" in again.stderr
    assert keys.MODEL_CURRENT.encode() in b"".join(
        path.read_bytes() for path in (tmp_path / ".timbral" / "redis").rglob("*.aof")
    )
    assert list((tmp_path / "models").iterdir())
    assert not (tmp_path / ".timbral" / "redis.pid").exists()  # the server has ended


@pytest.mark.integration
@nobody_listens
def test_a_training_that_is_interrupted_is_cancelled_with_its_worker(tmp_path: Path) -> None:
    write_history(tmp_path / "plays.csv", history())
    command = [sys.executable, "-m", "timbral.cli", "train", "plays.csv", "--tol", "0", "--max-iter", "100000"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        log = tmp_path / ".timbral" / "worker.log"
        deadline = time.monotonic() + 100
        while not (log.exists() and " rows, " in log.read_text()):  # the command waits for its job by then
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=100)[1]

    left = run(tmp_path, "recommend")

    assert process.returncode == 130
    assert "Cancelled: the worker was started for this command, and ends with it" in said
    assert "job wait" not in said
    assert "No model" in left.stderr  # nothing is trained behind anybody's back
    assert not list((tmp_path / "models").iterdir())


@nobody_listens
def test_where_nothing_was_ever_done_one_command_is_said(tmp_path: Path) -> None:
    shown, sent = run(tmp_path, "show", "7"), run(tmp_path, "train", "--no-wait")

    assert shown.returncode == 3
    assert sent.returncode == 2
    assert "timbral up starts everything" in shown.stderr
    assert "timbral up starts everything" in sent.stderr
    assert not (tmp_path / ".timbral").exists()


def test_a_redis_that_was_named_is_never_replaced_by_one_of_our_own() -> None:
    assert not is_needed(read_settings(REDIS_URL="redis://127.0.0.1:1"))
    assert not is_needed(read_settings(BROKER_URL="redis://127.0.0.1:1"))


def test_a_command_waits_for_another_one_in_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "redis.pid"
    pid_file.write_text("")  # of a machine that lost its power
    entered, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with only_one(tmp_path / "lock", pid_file):
            entered.set()
            may_end.wait(100)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(100)
    with pytest.raises(SettingsError, match="another `timbral up` runs"), only_one(tmp_path / "lock", pid_file):
        pass
    with pytest.raises(SettingsError, match="command works in"), only_one(tmp_path / "lock", pid_file, 0.01):
        pass
    monkeypatch.setattr("timbral.stack.up.time.sleep", lambda _: may_end.set())

    with only_one(tmp_path / "lock", pid_file, 30):
        assert may_end.is_set()
    thread.join()
