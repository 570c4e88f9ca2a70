"""``make screenshots``: the pictures in docs/images, taken with a headless Chromium: Flower's from a stack that is
started for them, and those of the HTTP API's page (tools/screenshot_page.py)."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools import screenshot_page
from tools.chromium import Chromium, missing

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
AUTH = "admin:pictures"
MAX_BYTES = 150_000


class Stack:
    """``timbral up`` in a folder of its own, and the history of some users in it."""

    def __init__(self, folder: Path) -> None:
        from timbral.demo.synthetic import make_listening_history

        self.folder = folder
        (folder / "data").mkdir()
        for name, n_users, n_items in (("plays.csv", 3_000, 800), ("all-plays.csv", 12_000, 3_000)):
            history = make_listening_history(n_users, n_items, random_state=0)
            with (folder / "data" / name).open("w") as file:
                file.write("user_id,item_id,rating\n")
                rows = zip(history.user_ids, history.item_ids, history.plays, strict=True)
                file.writelines(f"{user},{item},{plays}\n" for user, item, plays in rows)
        self.log = folder / "up.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS_", "BROKER_"))}
        environment |= {"FLOWER_BASIC_AUTH": AUTH, "SOFT_SHUTDOWN_S": "1", "RENEW_EVERY_S": "0"}
        with self.log.open("wb") as log:
            command = [sys.executable, "-c", "import sys; from timbral.stack.up import up; sys.exit(up(concurrency=2))"]
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        until(lambda: "Ready." in self.log.read_text(errors="replace"), 90, f"the stack: {self.log.read_text()[-500:]}")
        text = self.log.read_text(errors="replace")
        self.api, self.flower, self.redis = (_printed(name, text) for name in ("HTTP API", "Flower", "  Redis"))

    def close(self) -> None:
        """End everything."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        self.process.kill()


def _printed(name: str, text: str) -> str:
    """The address that stands after ``name`` in what ``timbral up`` printed."""
    found = re.search(rf"{name} +(\S+)", text)
    if found is None:
        raise RuntimeError(f"timbral up printed no address of {name.strip()}: {text[-500:]}")
    return found[1]


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The condition's first answer that is not false."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        time.sleep(0.1)
    return answer


@contextlib.contextmanager
def stack() -> Iterator[Stack]:
    """A running stack."""
    with tempfile.TemporaryDirectory(prefix="timbral-pictures-") as name:
        made = Stack(Path(name))
        try:
            yield made
        finally:
            made.close()


def save(browser: Chromium, name: str) -> None:
    """Take a picture of the window."""
    path = IMAGES / f"{name}.png"
    browser.picture(path, whole_page=False)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path.name} has {size} bytes, more than {MAX_BYTES}")
    print(f"  {path.relative_to(IMAGES.parents[1])}  {size // 1000} kB")


def take(running: Stack) -> None:
    """All pictures: Flower's of a busy fleet."""
    import producers

    producers.connect(running.redis)
    trained = producers.enqueue_train_model("plays.csv", n_components=32).wait(120)
    producers.enqueue_compute_recommendations().wait(120)
    print(f"  trained {trained['model_version']}, everyone has a list")
    failed = producers.enqueue_train_model("holidays.csv")
    for user in range(3):
        producers.enqueue_refresh_embeddings(plays=[{"user_id": user, "item_id": user * 7 % 800, "plays": 3}]).wait(60)
    with contextlib.suppress(Exception):
        failed.wait(60)
    producers.enqueue_refresh_embeddings().wait(60)
    long = producers.enqueue_train_model("all-plays.csv", n_components=128, max_iter=2_000, tol=0)
    waiting = [producers.enqueue_train_model("plays.csv", n_components=n, promote="never") for n in (8, 16, 24)]
    until(lambda: long.progress.done >= 2, 120, "progress of the long training")
    host = running.flower.removeprefix("http://")
    try:
        with Chromium(1500, 660) as browser:
            browser.open(f"http://{AUTH}@{host}/")
            browser.wait_for("return document.body.innerText.includes('trainer@')")
            browser.wait_for("return document.querySelectorAll('table tbody tr').length >= 2")
            save(browser, "flower-workers")
            browser.open(f"{running.flower}/tasks")
            browser.wait_for("return document.body.innerText.includes('PROGRESS')", timeout_s=30)
            save(browser, "flower-tasks")
            browser.open(f"{running.flower}/task/{long.id}")
            save(browser, "flower-training")
            browser.open(f"{running.flower}/task/{failed.id}")
            browser.wait_for("return document.body.innerText.includes('FAILURE')")
            save(browser, "flower-failed")
            browser.resize(1400, 420)
            browser.open(f"{running.flower}/broker")
            browser.wait_for("return document.body.innerText.includes('training')")
            save(browser, "flower-queues")
    finally:
        for job in (*waiting, long):
            job.cancel()


def main() -> int:
    """Take the pictures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if missing():
        print(missing(), file=sys.stderr)
        return 1
    with stack() as running:
        take(running)
    with screenshot_page.api() as url:
        screenshot_page.take(url, IMAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
