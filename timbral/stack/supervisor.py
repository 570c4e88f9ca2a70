"""Several programs in one terminal: their lines with a prefix each, restarts, and one end for all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from timbral.stack.signals import ending_with_us

__all__ = ["Program", "Supervisor"]

COLOURS: Final = (36, 32, 33, 35, 34, 31)
MAX_QUICK_ENDS: Final = 3
"""Ends of a program, each sooner than QUICK_S after its start, before everything is stopped."""
QUICK_S: Final = 30.0


@dataclass
class Program:
    """A command to keep running; ``name`` stands before each of its lines."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    grace_s: float = 10.0
    """Seconds between SIGTERM and SIGKILL when everything stops."""
    process: subprocess.Popen[str] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_again_at: float | None = field(default=0.0, init=False)
    quick_ends: int = field(default=0, init=False)


class Supervisor:
    """Runs programs until it is told to stop, or until one of them keeps ending.

    Each program has a session of its own, so that the terminal's Ctrl-C comes to us alone and everything ends in order.

    Args:
        programs: all of them start at once; they end in the reverse order, together.
        out: where the lines go.
        colour: colour the prefixes.
    """

    def __init__(self, programs: Sequence[Program], out: IO[str], *, colour: bool = False) -> None:
        self.programs = list(programs)
        self._out = out
        self._colour = colour
        self._width = max((len(p.name) for p in programs), default=0)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._readers: list[threading.Thread] = []

    def say(self, text: str, name: str = "up") -> None:
        """Print lines with a prefix, whole, whichever thread asks."""
        number = next((i for i, p in enumerate(self.programs) if p.name == name), None)
        prefix = f"{name:<{self._width}} │"
        if self._colour:
            prefix = f"\033[{1 if number is None else COLOURS[number % len(COLOURS)]}m{prefix}\033[0m"
        with (
            self._lock,
            contextlib.suppress(OSError, ValueError),
        ):  # the terminal may be gone; what runs still has to end
            for line in text.splitlines() or [""]:
                self._out.write(f"{prefix} {line}\n")
            self._out.flush()

    def stop(self) -> None:
        """Ask for the end; a second time: at once. Safe in a signal handler."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stop.is_set()

    def run(self, tick: Callable[[], object] = lambda: None) -> int:
        """Start everything and watch it; ``tick`` is called about five times a second.

        Returns:
            0 when it was told to stop, 1 when a program kept ending.
        """
        code = 0
        try:
            while not self._stop.is_set():
                for program in self.programs:
                    if not self._look_after(program):
                        code = 1
                        self._stop.set()
                        break
                tick()
                self._stop.wait(0.2)
        finally:
            self._end_all()
        return code

    def _look_after(self, program: Program) -> bool:
        now = time.monotonic()
        if program.process is None:
            if program.start_again_at is not None and now >= program.start_again_at:
                self._start(program)
            return True
        code = program.process.poll()
        if code is None:
            return True
        _kill_group(program.process)  # what it started may have outlived it
        program.process = None
        program.quick_ends = program.quick_ends + 1 if now - program.started_at < QUICK_S else 1
        if program.quick_ends >= MAX_QUICK_ENDS:
            self.say(f"{program.name} ended {program.quick_ends} times in a row ({_how(code)}); stopping everything")
            return False
        pause_s = 2.0 ** (program.quick_ends - 1)
        self.say(f"{program.name} ended ({_how(code)}); starting it again in {pause_s:g} s")
        program.start_again_at = now + pause_s
        return True

    def _start(self, program: Program) -> None:
        program.started_at = time.monotonic()
        program.process = subprocess.Popen(  # noqa: S603 - our own programs
            ending_with_us(program.command),
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        reader = threading.Thread(target=self._read, args=(program.name, program.process), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it was started with a pipe
        with process.stdout as lines:
            for line in lines:
                self.say(line.rstrip(), name)

    def _end_all(self) -> None:
        running = [(p, p.process) for p in reversed(self.programs) if p.process is not None]
        for _, process in running:
            _signal_process(process, signal.SIGTERM)
        asked_at = time.monotonic()
        for program, process in running:
            while process.poll() is None and not self._hurry.is_set() and time.monotonic() < asked_at + program.grace_s:
                time.sleep(0.05)
            if process.poll() is None:
                self.say(f"{program.name} did not end in {time.monotonic() - asked_at:.0f} s; killing it")
            _kill_group(process)
            process.wait()
            program.process = None
        for reader in self._readers:
            reader.join(2)


def _how(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _signal_process(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
