"""``python -m MODULE`` as a real process of its own, forked from one that has the libraries imported.

Two thirds of what a worker takes until it is ready is the import of libraries, and the tests start hundreds. Nothing of
timbral is imported before the fork: each process reads its own settings from its own environment.

Run as a script this file is the process that forks: a request a line on standard input, an answer a line on standard
output.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG = 1
LIBRARIES = (
    "numpy", "scipy.sparse", "scipy.linalg", "numba", "pyarrow", "redis", "redis.asyncio", "redis.cluster", "structlog",
    "pydantic", "pydantic_settings", "prometheus_client", "threadpoolctl", "celery.bin.celery", "celery.apps.worker",
    "celery.concurrency.prefork", "celery.worker.consumer", "kombu.transport.redis", "flower.command", "click_repl",
    "fastapi", "uvicorn", "jinja2","celery.apps.beat",
)  # fmt: skip


class WarmProcess:
    """What ``subprocess.Popen(["python", "-m", module, *arguments])`` would be, started in a tenth of the time.

    Args:
        command: arguments after the interpreter: "-m", the module, its own.
        cwd: working folder.
        env: the environment, whole; PYTHONPATH is heeded.
        output: gets stdout and stderr, at its end.

    Raises:
        ChildProcessError: the process that forks is gone.
    """

    def __init__(self, command: list[str], *, cwd: Path, env: dict[str, str], output: Path) -> None:
        assert command[0] == "-m", command
        output.touch()
        self._parent = _parent()
        self.pid: int = self._parent.ask(command=command[1:], cwd=str(cwd), env=env, output=str(output))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._parent.ask(reap=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("python", timeout or 0.0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """To the process alone; nothing where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Parent:
    """The process that forks, as seen from the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self._process.kill)

    def ask(self, **request: Any) -> Any:
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            answer = stdout.readline()
        if not answer:
            raise ChildProcessError("the process that starts the workers of the tests is gone")
        return json.loads(answer)


_the_parent: _Parent | None = None
_making = threading.Lock()


def _parent() -> _Parent:
    """One for each process that runs tests."""
    global _the_parent
    with _making:
        if _the_parent is None:
            _the_parent = _Parent()
        return _the_parent


def _serve(requests: IO[str], answers: IO[str]) -> None:
    die_with_the_parent()
    for library in LIBRARIES:
        importlib.import_module(library)
    sys.modules["numba"].njit("f8(f8)")(lambda x: x)  # has numba load what it compiles with
    for line in requests:
        request = json.loads(line)
        answer = _exit_code(request["reap"]) if "reap" in request else _start(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _exit_code(pid: int) -> int | None:
    reaped, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if reaped else None


def _start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _become(**request)
    return pid


def _become(command: list[str], cwd: str, env: dict[str, str], output: str) -> None:
    """The forked process: nothing is left of what it comes from but the libraries."""
    code = 1
    try:
        os.setsid()
        die_with_the_parent()
        for number, path, how in (
            (0, os.devnull, os.O_RDONLY),
            (1, output, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        ):
            opened = os.open(path, how)
            os.dup2(opened, number)
            os.close(opened)
        os.dup2(1, 2)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.path[0:1] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
        sys.argv[1:] = command[1:]
        sys.orig_argv[1:] = ["-m", *command]
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code + "\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        _leave(code)


def _leave(code: int) -> None:
    """End as an interpreter does, with what is registered for it, but not into the loop of the one that forked."""
    threading._shutdown()  # waits for threads, as the interpreter's end does
    atexit._run_exitfuncs()
    os._exit(code)


def die_with_the_parent() -> None:
    """In a new process: be killed with the one that made it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
