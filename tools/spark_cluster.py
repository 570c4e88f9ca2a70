"""Spark on this machine for tests and benchmarks: a standalone master, two workers and a Spark Connect server.

What it needs, Java and the full pyspark, is in none of timbral's extras. ``SPARK_HOME`` says where it is, where it is
not beside this Python: it may be in an environment of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

__all__ = ["SparkCluster", "missing"]

ROOT: Final = Path(__file__).parents[1]
START_LIMIT_S: Final = 240.0
EXECUTOR: Final = "CoarseGrainedExecutorBackend"


def missing() -> str | None:
    """What is not there, or None."""
    if importlib.util.find_spec("pyspark") is None:
        return "no pyspark-client: pip install 'timbral[spark]'"
    if shutil.which("java") is None:
        return "no java on the PATH (Debian: apt-get install default-jre-headless)"
    if spark_home() is None:
        return "no Spark: pip install pyspark into an environment of its own, and say where in SPARK_HOME"
    return None


def spark_home() -> Path | None:
    """The folder of a Spark that has Spark Connect."""
    beside = importlib.util.find_spec("pyspark")
    candidates = [os.environ.get("SPARK_HOME"), None if beside is None or not beside.origin else beside.origin]
    for candidate in candidates:
        folder = Path(candidate or "/nowhere")
        folder = folder.parent if folder.suffix == ".py" else folder
        if any(folder.glob("jars/spark-connect_*.jar")):
            return folder
    return None


class SparkCluster:
    """A context manager that leaves no process behind.

    Attributes:
        url: of the Connect server, as TRAIN_ENGINE_URL.
    """

    def __init__(self, folder: Path, *, n_workers: int = 2, python: str = sys.executable) -> None:
        home = spark_home()
        assert home is not None, missing()
        self._home = home
        self.folder = folder
        self._n_workers = n_workers
        self._python = python
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = [_free_port(), _free_port()]
        self.master_url = f"spark://127.0.0.1:{self._ports[0]}"
        self.url = f"sc://127.0.0.1:{self._ports[1]}"

    def __enter__(self) -> Self:
        try:
            self._start("master", "org.apache.spark.deploy.master.Master", "--port", str(self._ports[0]))
            self._wait_for("master", self._ports[0])
            for number in range(self._n_workers):
                more = ["--cores", "1", "--memory", "1g", "-d", str(self.folder / f"worker{number}"), self.master_url]
                self._start(f"worker{number}", "org.apache.spark.deploy.worker.Worker", *more)
            self.start_connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self._end(name)

    def start_connect(self) -> None:
        """Start the Connect server, and wait until it listens."""
        options = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self._ports[1]),
            "spark.ui.enabled": "false",
            "spark.executor.memory": "512m",
            "spark.pyspark.python": self._python,
            # The kernels' cache goes by the folder that they run in.
            "spark.executorEnv.PYTHONPATH": str(ROOT),
        }
        given = [part for name, value in options.items() for part in ("--conf", f"{name}={value}")]
        server = "org.apache.spark.sql.connect.service.SparkConnectServer"
        main = "org.apache.spark.deploy.SparkSubmit"
        self._start("connect", main, "--class", server, "--master", self.master_url, *given, "spark-internal")
        self._wait_for("connect", self._ports[1])

    def kill_connect(self) -> None:
        """kill -9 of the Connect server, which is Spark's driver."""
        self._processes["connect"].kill()
        self._end("connect")

    def executors(self) -> list[int]:
        """Process ids of the executors."""
        return [
            pid
            for process in self._processes.values()
            for pid in _descendants(process.pid)
            if EXECUTOR in _command_of(pid)
        ]

    def _start(self, name: str, main: str, *arguments: str) -> None:
        environment = os.environ | {
            "SPARK_HOME": str(self._home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": self._python,
            "PYTHONPATH": str(ROOT),
            # Four Java machines on a few cores: what is compiled quickly is enough.
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }
        is_daemon = "deploy.master" in main or "deploy.worker" in main
        environment |= {"SPARK_DAEMON_MEMORY": "256m" if is_daemon else "1g"}
        address = ["--host", "127.0.0.1", "--webui-port", "0"] if is_daemon else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._home / "bin" / "spark-class", main, *address, *arguments],
                cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _wait_for(self, name: str, port: int) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self._processes[name].poll() is None:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        said = (self.folder / f"{name}.log").read_text()[-2000:]
        raise TimeoutError(f"Spark's {name} does not listen on port {port}; its log ends: {said}")

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        left = list(_descendants(process.pid))
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _descendants(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
