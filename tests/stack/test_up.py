"""``timbral up``: the whole stack from one command, and nothing left of it after one signal."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from timbral.config.settings import read_settings
from timbral.stack.up import Addresses, programs

Wait = Callable[..., None]
START = "import sys; from timbral.stack.up import up; sys.exit(up(concurrency=1))"


class Up:
    """``up`` in a process and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "up.log"
        environment = {k: v for k, v in os.environ.items() if k not in ("REDIS_URL", "NO_COLOR")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def processes(self) -> list[str]:
        """Command lines of every process that works in the folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if (entry / "cwd").resolve() in (self.folder, self.folder / ".timbral/redis"):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Up]:
    # It is an app's own folder: with Celery settings and a package whose names are those of ours.
    (tmp_path / "celeryconfig.py").write_text("task_acks_late = False\nbroker_url = 'redis://127.0.0.1:2'\n")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers/__init__.py").write_text("raise SystemExit('these are not the workers')\n")
    made = Up(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(30)


@pytest.mark.integration
def test_one_command_brings_the_stack_up_and_one_signal_takes_all_of_it_down(stack: Up, wait_until: Wait) -> None:
    wait_until(lambda: "Ready." in stack.text or stack.process.poll() is not None, 60, "the stack")
    assert "Ready." in stack.text, stack.text[-3000:]
    text = stack.text
    api = re.search(r"HTTP API +(\S+)", text)[1]
    flower = re.search(r"Flower +(\S+)", text)[1]
    url = re.search(r"Redis +(redis://\S+)", text)[1]

    # Then: it does a task …
    (stack.folder / "data/plays.csv").write_text(
        "user_id,item_id\n" + "".join(f"{u},{(u * 7 + i) % 20}\n" for u in range(30) for i in range(6))
    )
    code = """
import producers
print(producers.enqueue_train_model("plays.csv", n_components=4).wait(100)["n_users"])
print(producers.enqueue_compute_recommendations().wait(100)["users_done"])
print(len(producers.get_recommendations(7)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "REDIS_URL": url}, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.split() == ["30", "30", "10"], done.stderr + stack.text[-3000:]

    # … the API answers, Flower asks for its password, which is on the terminal …
    assert urllib.request.urlopen(f"{api}/health", timeout=5).status == 200
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(flower, timeout=5)
    refused.value.close()

    # … a second one in the same folder is refused …
    second = subprocess.run(
        [sys.executable, "-c", START], cwd=stack.folder, env={**os.environ}, capture_output=True, text=True, timeout=30
    )
    assert "another `timbral up` runs" in second.stderr

    # … and after SIGTERM nothing of it is left.
    assert len(stack.processes()) >= 7
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(40) == 0, stack.text[-2000:]
    wait_until(lambda: not stack.processes(), 5, "the end of every process")
    assert "Everything has ended" in stack.text


def test_the_programs_get_the_addresses_and_no_foreign_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "of-another-redis")
    monkeypatch.setenv("BROKER_URL", "redis://elsewhere:6379")
    made = programs(read_settings(), Addresses("redis://127.0.0.1:7777", 8123, 5678, "me:secret"), 3)
    assert [p.name for p in made] == ["worker", "trainer", "scheduler", "flower", "api"]
    for program in made:
        assert (
            program.environment["BROKER_URL"]
            == program.environment["REDIS_URL"]
            == "redis://default:none@127.0.0.1:7777"
        )
        assert program.environment["API_HOST"] == program.environment["FLOWER_ADDRESS"] == "127.0.0.1"
        assert "me:secret" not in " ".join(program.command)
    queues = {p.name: p.command[p.command.index("-Q") + 1] for p in made[:2]}
    assert queues == {"worker": "celery,batch", "trainer": "training"}


def test_a_busy_port_is_passed_over_unless_it_was_asked_for() -> None:
    from timbral.errors import SettingsError
    from timbral.stack.up import free_port

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert free_port("api_port", None, port) not in (0, port)
        with pytest.raises(SettingsError, match=f"api_port: cannot listen on 127.0.0.1:{port}"):
            free_port("api_port", port, 8000)
