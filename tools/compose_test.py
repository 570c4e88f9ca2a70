"""``make compose-test``: bring the compose stack up on a Docker Engine, use it, scale it, redeploy it, break it, take
it down.

Needs ``docker compose`` (v2) or ``docker-compose`` (1.29) and an engine that they reach on this machine. It has a
project name, ports, volumes and data of its own, and touches no other stack. Exit code 0 where everything held.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DRIVER = (ROOT / "tools/compose_driver.py").read_text()
SERVICES = ("redis", "worker", "trainer", "scheduler", "flower", "api")
MAX_MB = 600
"""Of the image, on top of its base."""
N_USERS, N_ITEMS, N_PLAYED = 3_000, 600, 20


class FailedError(Exception):
    """Something that must hold did not."""


class Stack:
    """The compose project under test."""

    def __init__(self, folder: Path) -> None:
        self.compose = compose_command()
        self.name = f"timbraltest{os.getpid()}"
        self.ports = {"api": free_port(), "flower": free_port()}
        self.environment = {
            **os.environ,
            "TIMBRAL_IMAGE": "timbral:compose-test",
            "DATA_FOLDER": str(folder),
            "API_PUBLISH": f"127.0.0.1:{self.ports['api']}",
            "FLOWER_PUBLISH": f"127.0.0.1:{self.ports['flower']}",
            # What is lost comes back in seconds, and the test need not wait for minutes.
            "VISIBILITY_TIMEOUT_S": "15",
            "RESTORE_INTERVAL_S": "2",
            "SOFT_SHUTDOWN_S": "5",
            "CHUNK_SIZE": "200",
            "WORKER_CONCURRENCY": "1",
            "API_WORKERS": "1",
        }
        # No .env of the developer's: a clean checkout has none.
        empty = folder / "no.env"
        empty.touch()
        self.options = [
            "--env-file",
            str(empty),
            "-p",
            self.name,
            "-f",
            str(ROOT / "docker-compose.yml"),
            "--project-directory",
            str(ROOT),
        ]

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_s: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """A compose command; its output is shown where it fails."""
        done = subprocess.run(
            [*self.compose, *self.options, *arguments], env=self.environment, cwd=ROOT, input=stdin,
            capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip
        if check and done.returncode:
            raise FailedError(
                f"{' '.join(arguments[:4])}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def docker(self, *arguments: str) -> str:
        """A docker command's output."""
        done = subprocess.run(["docker", *arguments], env=self.environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise FailedError(f"docker {' '.join(arguments[:3])}: {done.stderr[-1000:]}")
        return done.stdout.strip()

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers."""
        return self.run("ps", "-q", service).stdout.split()

    def inspect(self, container: str, template: str) -> str:
        """One fact of a container."""
        return self.docker("inspect", "--format", template, container)

    def nameless_images(self) -> set[str]:
        """Ids of the images without a name that lie around."""
        return set(self.docker("images", "--filter", "dangling=true", "-q").split())

    def healthy_after_s(self, service: str) -> float:
        """Seconds from a service's start to its first good health check."""
        state = json.loads(self.inspect(self.containers(service)[0], "{{json .State}}"))
        good = [check["End"] for check in state["Health"]["Log"] if check["ExitCode"] == 0]
        began, ended = (datetime.fromisoformat(f"{at[:26]}+00:00") for at in (state["StartedAt"], good[0]))
        return (ended - began).total_seconds()

    def scale(self, service: str, n: int) -> None:
        """As `docker compose up --scale`."""
        self.run("up", "-d", "--no-deps", "--no-build", "--no-recreate", "--scale", f"{service}={n}", service)

    def drive(self, *arguments: str) -> subprocess.Popen[str]:
        """Start tools/compose_driver.py in the api's container."""
        command = [*self.compose, *self.options, "exec", "-T", "api", "python", "-", *arguments]
        process = subprocess.Popen(
            command, env=self.environment, cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(DRIVER)
        process.stdin.close()
        process.stdin = None
        return process

    def wait_healthy(self, timeout_s: float = 240) -> None:
        """Until every container runs, and is healthy where it has a check."""
        template = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        deadline, state = time.monotonic() + timeout_s, {}
        while time.monotonic() < deadline:
            state = {c: (s, self.inspect(c, template)) for s in SERVICES for c in self.containers(s)}
            if {s for s, _ in state.values()} == set(SERVICES) and all(
                text in ("running healthy", "running ") for _, text in state.values()
            ):
                return
            time.sleep(1)
        logs = self.run("logs", "--tail", "25", check=False).stdout
        raise FailedError(f"not healthy after {timeout_s:.0f} s: {sorted(state.values())}\n{logs[-6000:]}")


def answer(process: subprocess.Popen[str], timeout_s: float = 400) -> dict[str, Any]:
    """What the driver printed."""
    out, err = process.communicate(timeout=timeout_s)
    if process.returncode:
        raise FailedError(f"the driver: exit code {process.returncode}\n{out[-2000:]}\n{err[-3000:]}")
    parsed: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return parsed


def must(condition: object, what: str) -> None:
    """Stop where something does not hold."""
    if not condition:
        raise FailedError(what)


def compose_command() -> list[str]:
    """v2 where there is one, else 1.29."""
    if not shutil.which("docker") or subprocess.run(["docker", "version"], capture_output=True).returncode:
        sys.exit(f"No Docker Engine answers (DOCKER_HOST={os.environ.get('DOCKER_HOST', 'is not set')}).")
    with contextlib.suppress(OSError):
        if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
            return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    sys.exit("Neither `docker compose` nor `docker-compose` is here.")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def write_plays(path: Path) -> None:
    """Users of six tastes, who play what belongs to theirs."""
    rng = random.Random(7)
    with path.open("w") as file:
        file.write("user_id,item_id,plays\n")
        for user in range(N_USERS):
            taste = user % 6
            for item in rng.sample(range(N_ITEMS), N_PLAYED):
                own = item - item % 6 + taste if rng.random() < 0.9 else item
                file.write(f"{user},{own},{rng.randint(1, 20)}\n")


def get(url: str, auth: str | None = None, timeout_s: float = 5) -> tuple[int, str]:
    """Status and text of a GET."""
    request = urllib.request.Request(url)
    if auth:
        request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def nothing_lost(result: dict[str, Any]) -> str:
    """Check what a load ended with; the row's text."""
    must(result["ends"] == {"done": result["sent"]}, f"not every job was done: {result}")
    must(not result["plays_lost"] and not result["plays_twice"], f"plays were lost or counted twice: {result}")
    must(not result["done_twice"], f"tasks were done twice: {result}")
    must(not result["dead_letters"] and not result["still_queued"], f"something was left over: {result}")
    return f"{result['sent']} jobs done, 0 lost, 0 twice, {result['begun_again']} handed over"


def steps(stack: Stack) -> Iterator[tuple[str, str]]:
    """Everything that is tried; a name and what came of it."""
    began = time.monotonic()
    # The image of a run before loses its name to this one's.
    nameless = stack.nameless_images() | set(stack.docker("images", "-q", stack.environment["TIMBRAL_IMAGE"]).split())
    built = stack.run("build", *(["--no-cache"] if CLEAN else []))
    must(built.stdout.count("Successfully tagged") <= 1, "the image is built more than once")
    must(stack.nameless_images() <= nameless, f"the build left {stack.nameless_images() - nameless}")
    image = stack.environment["TIMBRAL_IMAGE"]
    size = int(stack.docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6
    base = int(stack.docker("image", "inspect", "--format", "{{.Size}}", "python:3.11-slim-bookworm")) / 1e6
    must(size - base <= MAX_MB, f"the image has {size - base:.0f} MB on its base, more than {MAX_MB}")
    yield "build", f"{time.monotonic() - began:.0f} s, image {size:.0f} MB ({size - base:.0f} MB on its base)"

    began = time.monotonic()
    started = stack.run("up", "-d", "--no-build")
    must("pull" not in (started.stdout + started.stderr).lower(), f"something was pulled: {started.stderr[-1000:]}")
    stack.wait_healthy()
    yield "up, without .env", f"all of {', '.join(SERVICES)} healthy after {time.monotonic() - began:.0f} s"

    yield "start to healthy", ", ".join(f"{name} {stack.healthy_after_s(name):.0f} s" for name in SERVICES)
    told = stack.run("logs", "ready").stdout
    must(f"http://127.0.0.1:{stack.ports['api']}" in told and "secrets show" in told, f"ready says: {told}")

    worker = stack.containers("worker")[0]
    must(stack.run("exec", "-T", "worker", "id", "-u").stdout.strip() == "10001", "the worker runs as root")
    must(
        stack.run("exec", "-T", "worker", "touch", "/here", check=False).returncode,
        "the root file system can be written to",
    )
    must(
        stack.inspect(stack.containers("redis")[0], "{{json .HostConfig.PortBindings}}") in ("{}", "null"),
        "Redis is published",
    )
    secrets = dict(
        line.split("=", 1)
        for line in stack.run("run", "--rm", "-T", "secrets", "show").stdout.splitlines()
        if "=" in line
    )
    seen = stack.docker("history", "--no-trunc", image) + stack.docker("inspect", worker) + stack.run("logs").stdout
    must(
        len(secrets) == 3 and not any(value in seen for value in secrets.values()),
        "a secret is in an image, a container or a log",
    )
    yield "secrets, users, files", "not root, read-only, Redis unpublished, no secret in image, inspect or logs"

    result = answer(stack.drive("history", str(N_USERS), str(N_ITEMS)))
    must(
        result["trained"] and result["promoted"] and result["users_done"] == result["full_lists"] == N_USERS,
        f"training: {result}",
    )
    yield (
        "train, recommend for all",
        f"train {result['train_s']} s, {N_USERS} lists in {result['recommend_s']} s, all full",
    )

    api, flower = (f"http://127.0.0.1:{stack.ports[name]}" for name in ("api", "flower"))
    status, text = get(f"{api}/users/0/recommendations")
    must(status == 200 and str(result["first"][0]) in text, f"the HTTP API answered {status}: {text[:300]}")
    must(get(flower)[0] == get(f"{flower}/api/workers")[0] == 401, "Flower is open")
    status, text = get(f"{flower}/api/queues/length", secrets["FLOWER_BASIC_AUTH"])
    names = [queue["name"] for queue in json.loads(text)["active_queues"]]
    must(status == 200 and sorted(names) == ["batch", "celery", "training"], f"Flower's queues: {status} {text[:300]}")
    must(get(f"{api}/docs")[0] == 200, "there are no /docs")
    status, text = get(f"{api}/items/{result['first'][0]}/similar", timeout_s=30)
    must(status == 200, f"similar items: {status} {text[:300]}")
    compiled = [line for line in stack.run("logs").stdout.splitlines() if "numba's cache" in line]
    must(not compiled, f"kernels were compiled in a running process: {compiled[:2]}")
    yield "kernels", "no process compiled one"
    (line,) = re.findall(
        r"^docker compose exec redis sh -c '(.+)'$", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE
    )
    said = stack.run("exec", "-T", "redis", "sh", "-c", line.replace(":1042", ":0")).stdout
    must(str(result["first"][0]) in said, f"redis-cli as the docs have it says {said[:300]}")
    health = stack.run("exec", "-T", "trainer", "timbral", "health", check=False)
    must(health.returncode == 0, f"timbral health: {health.returncode} {health.stdout} {health.stderr}")
    yield "redis-cli, timbral health", "the list as the docs ask for it; healthy"
    yield "HTTP API, Flower", "the list is served; Flower asks for its password and shows the queues"

    running = stack.drive("load", "40", str(N_USERS), "0")
    time.sleep(5)
    stack.scale("worker", 4)
    time.sleep(12)
    must(len(stack.containers("worker")) == 4, "there are not 4 workers")
    stack.scale("worker", 1)
    must(len(stack.containers("worker")) == 1, "there is not 1 worker")
    yield "worker 1 → 4 → 1 under load", nothing_lost(answer(running))

    running = stack.drive("load", "40", str(N_USERS), "1")
    time.sleep(5)
    before = {*stack.containers("worker"), *stack.containers("trainer")}
    stack.run("up", "-d", "--no-deps", "--no-build", "--force-recreate", "worker", "trainer")
    must(not before & {*stack.containers("worker"), *stack.containers("trainer")}, "nothing was redeployed")
    yield "redeploy worker and trainer while they work", nothing_lost(answer(running))

    stack.scale("worker", 2)
    running = stack.drive("load", "30", str(N_USERS), "1")
    time.sleep(6)
    stack.docker("kill", stack.containers("worker")[0], stack.containers("trainer")[0])
    time.sleep(3)
    stack.run("up", "-d", "--no-deps", "--no-build", "--no-recreate", "--scale", "worker=2", "worker", "trainer")
    yield "kill -9 of a worker and the trainer", nothing_lost(answer(running))

    running = stack.drive("load", "30", str(N_USERS), "0")
    time.sleep(6)
    stack.run("restart", "redis")
    yield "restart of Redis", nothing_lost(answer(running))

    stack.wait_healthy()
    result = answer(stack.drive("check", str(N_USERS)))
    must(result["lists"] == N_USERS and result["current"], f"in the end: {result}")
    yield "in the end", f"every service healthy, {result['lists']} lists, model {result['current']} live"


CLEAN = False


def main() -> int:
    """Run the steps, print them, take everything down."""
    global CLEAN
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--no-cache", action="store_true", help="build the image from nothing")
    parser.add_argument("--keep", action="store_true", help="leave the stack up where a step failed")
    arguments = parser.parse_args()
    CLEAN = arguments.no_cache
    failed = False
    with tempfile.TemporaryDirectory(prefix="timbral-compose-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_plays(folder / "plays.csv")
        (folder / "plays.csv").chmod(0o644)
        stack = Stack(folder)
        began = time.monotonic()
        try:
            for step, outcome in steps(stack):
                print(f"  ok    {time.monotonic() - began:5.0f} s  {step:<44} {outcome}", flush=True)
        except (FailedError, subprocess.TimeoutExpired, OSError, ValueError) as error:
            failed = True
            print(f"  FAILED {time.monotonic() - began:4.0f} s  {error}", flush=True)
        except KeyboardInterrupt:
            failed = True
        finally:
            if not (failed and arguments.keep):
                stack.run("down", "-v", "--remove-orphans", "-t", "10", check=False)
    print("compose-test: FAILED" if failed else f"compose-test: everything held ({time.monotonic() - began:.0f} s)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
