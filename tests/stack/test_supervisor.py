"""Several programs in one terminal: prefixed lines, restarts, one end for all of them."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from timbral.stack import supervisor as module
from timbral.stack.supervisor import Program, Supervisor

Wait = Callable[..., None]


def program(name: str, code: str, grace_s: float = 5.0) -> Program:
    return Program(name, [sys.executable, "-c", code], os.environ, grace_s)


class Running:
    """A supervisor in a thread, and what it prints."""

    def __init__(self, *programs: Program) -> None:
        self.out = io.StringIO()
        self.code: int | None = None
        self.supervisor = Supervisor(programs, self.out)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def end(self) -> None:
        self.supervisor.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_each_line_carries_the_name_of_its_program(wait_until: Wait) -> None:
    forever = "import time; print({!r}, flush=True); time.sleep(60)"
    running = Running(program("worker", forever.format("one")), program("api", forever.format("two")))
    wait_until(lambda: len(running.lines) == 2, 10, "a line from each")
    running.end()
    assert sorted(running.lines) == ["api    │ two", "worker │ one"]
    assert running.code == 0


def test_a_program_that_ends_is_reported_and_started_again(tmp_path: Path, wait_until: Wait) -> None:
    code = f"""
import pathlib, sys, time
mark = pathlib.Path({str(tmp_path / "mark")!r})
if not mark.exists():
    mark.touch(); sys.exit(7)
print("second life", flush=True); time.sleep(60)
"""
    running = Running(program("api", code))
    wait_until(lambda: "api │ second life" in running.lines, 15, "the second start")
    assert "up  │ api ended (exit code 7); starting it again in 1 s" in running.lines
    running.end()
    assert running.code == 0


def test_a_program_that_keeps_ending_stops_everything(monkeypatch: pytest.MonkeyPatch, wait_until: Wait) -> None:
    monkeypatch.setattr(module, "MAX_QUICK_ENDS", 2)
    other = program("worker", "import time; time.sleep(60)")
    running = Running(other, program("api", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    running.thread.join(20)
    assert running.code == 1
    assert "up     │ api ended 2 times in a row (killed by SIGKILL); stopping everything" in running.lines
    assert other.process is None


def test_the_end_takes_what_the_programs_started_with_them(tmp_path: Path, wait_until: Wait) -> None:
    code = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(child.pid)); print("started", flush=True); time.sleep(60)
"""
    running = Running(program("worker", code))
    wait_until(lambda: "worker │ started" in running.lines, 10, "the child")
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    running.end()
    wait_until(lambda: not alive(pid), 5, "the end of the child")


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(wait_until: Wait) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    running = Running(program("worker", code, grace_s=0.5))
    wait_until(lambda: "worker │ deaf" in running.lines, 10, "the start")
    running.end()
    assert any("did not end" in line for line in running.lines)
    assert running.code == 0


def test_a_second_request_to_stop_waits_for_nothing(wait_until: Wait) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    running = Running(program("worker", code, grace_s=60))
    wait_until(lambda: "worker │ deaf" in running.lines, 10, "the start")
    running.supervisor.stop()
    running.end()
    assert running.code == 0
