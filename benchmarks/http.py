"""GET /users/{id}/recommendations beside a bare Redis GET of the same lists: ``python -m benchmarks.http [--quick]``.

One client process asks over 1, 16 and 64 connections that stay open, each sending its next question when it has the
answer; it speaks HTTP to the API and RESP to Redis with the same code. Client, api and server share the machine's
cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine
from benchmarks.results import RESULTS
from timbral import keys
from timbral.stack.embedded_server import EmbeddedServer

N_USERS = 10_000
TOP_K = 10
CONNECTIONS = (1, 16, 64)

Question = Callable[[int], bytes]
IsWhole = Callable[[bytes], bool]


def http_question(user_id: int) -> bytes:
    return b"GET /users/%d/recommendations HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" % user_id


def http_is_whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the API answered {head.splitlines()[0]!r}")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)


def redis_question(user_id: int) -> bytes:
    key = keys.recommendations_user(user_id).encode()
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)


def redis_is_whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n")
    return bool(separator) and len(body) >= int(head[1:]) + 2


class Asking(asyncio.Protocol):
    """One connection: asks for a user, waits for the answer, notes how long it took, asks for another."""

    def __init__(self, question: Question, is_whole: IsWhole, until: float, rng: random.Random) -> None:
        self.question, self.is_whole, self.until, self.rng = question, is_whole, until, rng
        self.durations_s: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.question(self.rng.randrange(N_USERS)))

    def data_received(self, data: bytes) -> None:
        self.received += data
        try:
            if not self.is_whole(self.received):
                return
        except RuntimeError as error:
            self.finish(error)
            return
        now = time.perf_counter()
        self.durations_s.append(now - self.began)
        self.received = b""
        if now < self.until:
            self.ask()
        else:
            self.finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish(exc or ConnectionError("closed by the server"))

    def finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self.transport.close()


async def load(
    port: int, question: Question, is_whole: IsWhole, n_connections: int, seconds: float
) -> dict[str, float]:
    loop, rng = asyncio.get_running_loop(), random.Random(1)
    until = time.perf_counter() + seconds
    asking = []
    for _ in range(n_connections):
        made = Asking(question, is_whole, until, rng)
        await loop.create_connection(lambda made=made: made, "127.0.0.1", port)
        asking.append(made)
    began = time.perf_counter()
    await asyncio.gather(*(one.done for one in asking))
    durations_s = sorted(d for one in asking for d in one.durations_s)
    took_s = time.perf_counter() - began
    n = len(durations_s)
    return {
        "n_requests": n,
        "requests_per_s": round(n / took_s),
        "p50_ms": round(durations_s[n // 2] * 1e3, 3),
        "p99_ms": round(durations_s[int(n * 0.99)] * 1e3, 3),
    }


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its children have used: what a request costs, whatever else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(cpu_s(int(child)) for child in children)


def fill(server: EmbeddedServer) -> int:
    """Write the lists; gives the mean bytes of one."""
    rng = random.Random(0)
    n_bytes = 0
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for user_id in range(N_USERS):
            items = [{"item_id": rng.randrange(20_000), "score": round(rng.random(), 6)} for _ in range(TOP_K)]
            text = json.dumps(items)
            n_bytes += len(text)
            pipeline.set(keys.recommendations_user(user_id), text)
        pipeline.execute()
    return n_bytes // N_USERS


def start_api(server: EmbeddedServer, workers: int, directory: str) -> tuple[subprocess.Popen[str], int]:
    environment = os.environ | {
        "REDIS_URL": server.url,
        "API_HOST": "127.0.0.1",
        "API_PORT": "0",
        "API_WORKERS": str(workers),
        "MODEL_DIR": f"{directory}/none",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "timbral.api.serve"], env=environment, cwd=directory, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    ready = 0
    port = 0
    for line in process.stderr:
        if line.startswith("timbral listens on "):
            port = int(line.split()[3].rpartition(":")[2])
        ready += "Application startup complete" in line
        if ready == workers:
            break
    return process, port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a second each: shows that it runs")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each measurement")
    options = parser.parse_args()
    seconds = 1.0 if options.quick else options.seconds
    import uvloop

    before = machine()
    rows: list[dict[str, Any]] = []
    with EmbeddedServer(append_only=False) as server, tempfile.TemporaryDirectory() as directory:
        list_bytes = fill(server)

        def measure(what: str, pid: int, port: int, question: Question, is_whole: IsWhole) -> None:
            for n_connections in CONNECTIONS:
                uvloop.run(load(port, question, is_whole, n_connections, 0.5))
                cpu_before_s = cpu_s(pid)
                found = uvloop.run(load(port, question, is_whole, n_connections, seconds))
                found["cpu_us"] = round((cpu_s(pid) - cpu_before_s) / found["n_requests"] * 1e6)
                rows.append({"what": what, "connections": n_connections, **found})

        assert server.process is not None
        measure("bare Redis GET", server.process.pid, server.port, redis_question, redis_is_whole)
        for workers in (1, 2):
            process, port = start_api(server, workers, directory)
            try:
                what = f"the API, {workers} process{'es' * (workers > 1)}"
                measure(what, process.pid, port, http_question, http_is_whole)
            finally:
                process.terminate()
                process.wait(20)
    table = Table(title=f"Reading one user's list of {TOP_K} ({list_bytes} bytes), of {N_USERS:,} users")
    for name in ("what", "connections", "requests/s", "p50 ms", "p99 ms", "server's CPU, µs"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        cells = (row["connections"], f"{row['requests_per_s']:,}", row["p50_ms"], row["p99_ms"], row["cpu_us"])
        table.add_row(row["what"], *(str(cell) for cell in cells))
    console = Console()
    console.print(table)
    console.print(
        f"{before['cpu']}, {before['cores']} cores, Python {before['python']}, load before: {before['load_before']}"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "http.json").write_text(json.dumps({"machine": before, "seconds": seconds, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
