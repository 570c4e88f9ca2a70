"""What a command has started ends with it, however the command is ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from timbral.stack.own_fleet import own_server
from timbral.stack.signals import signals_interrupt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_ends_with_the_command_that_started_it(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(KeyboardInterrupt), own_server():  # noqa: PT012 - the signal comes in it
        assert Path(".timbral/redis.pid").exists()
        os.kill(os.getpid(), number)

    assert not Path(".timbral/redis.pid").exists()  # the server removes it at its end


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_nohup_or_a_script_has_switched_off_ends_nothing(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals_interrupt():
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


def test_ctrl_c_before_the_command_has_begun_is_no_traceback() -> None:
    code = "import sys, timbral.cli as cli; sys.modules['timbral.cli.application'] = Late(); sys.exit(cli.main([]))"
    late = "class Late:\n def __getattr__(self, name): raise KeyboardInterrupt\n"

    done = subprocess.run([sys.executable, "-c", late + code], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (util-linux)")
def test_a_server_ends_though_the_command_that_started_it_is_killed(tmp_path: Path, wait_until: Any) -> None:
    code = "from timbral.stack.own_fleet import own_server\nwith own_server(): print(flush=True); input()"
    command = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with command:
        assert command.stdout is not None
        command.stdout.readline()
        assert (tmp_path / ".timbral" / "redis.pid").exists()

        command.kill()

    wait_until(lambda: not (tmp_path / ".timbral" / "redis.pid").exists(), 20, "the end of the server")
