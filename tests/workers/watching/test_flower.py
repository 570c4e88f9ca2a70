"""Flower as this fleet starts it: behind a password, with tasks that a person can read, and the lengths of the
queues."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_fixtures import Fleet
from warm_python import WarmProcess

from timbral.stack.embedded_server import EmbeddedServer
from tools.chromium import Chromium, missing
from workers.watching.flower_events import Folding
from workers.watching.flower_text import readable, readable_arguments

Wait = Callable[..., None]
AUTH = "admin:correct horse"


class Flower:
    """``celery -A workers.app flower`` on a free port."""

    def __init__(self, fleet: Fleet, auth: str | None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ,
            "REDIS_URL": fleet.server.url,
            "FLOWER_PORT": str(self.port),
            "FLOWER_ADDRESS": "127.0.0.1",
        }
        environment |= {"FLOWER_BASIC_AUTH": auth} if auth else {}
        self.log = fleet.directory / f"flower-{self.port}.log"
        self.process = WarmProcess(
            ["-m", "celery", "-A", "workers.app", "flower"], cwd=fleet.directory, env=environment, output=self.log
        )

    def get(self, path: str, auth: str | None = AUTH) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path)
        if auth:
            request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/healthcheck")[0] == 200
        return False

    def table(self) -> dict[str, dict[str, Any]]:
        """Rows of the page of tasks, by task id."""
        query = {
            "draw": 1,
            "start": 0,
            "length": 100,
            "order[0][column]": 0,
            "columns[0][data]": "name",
            "search[value]": "",
        }
        text = self.get(f"/tasks/datatable?{urllib.parse.urlencode(query)}")[1]
        return {row["uuid"]: row for row in json.loads(text)["data"]}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)


@pytest.fixture(scope="module")
def module_fleet(session_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all tests of this module: Flower takes seconds to start, and is only looked at."""
    with session_server.client() as client:
        client.flushall()
    made = Fleet(session_server, tmp_path_factory.mktemp("flower"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def flower(module_fleet: Fleet) -> Iterator[Flower]:
    made = Flower(module_fleet, AUTH)
    module_fleet.worker().spawn()
    deadline = time.monotonic() + 90
    while not made.answers() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield made
    made.close()


def send(fleet: Fleet, code: str) -> list[str]:
    environment = {**os.environ, "REDIS_URL": fleet.server.url}
    done = subprocess.run(
        [sys.executable, "-c", f"import producers\n{code}"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def write_plays(path: Path) -> None:
    path.write_text("user_id,item_id\n" + "".join(f"{u},{(u * 7 + i) % 20}\n" for u in range(30) for i in range(6)))


@pytest.mark.integration
def test_flower_shows_workers_tasks_with_words_and_reasons_and_queues_to_whoever_knows_the_password(
    module_fleet: Fleet, flower: Flower, wait_until: Wait
) -> None:
    # Given tasks that are done and tasks that fail
    fleet = module_fleet
    write_plays(fleet.data_dir / "plays.csv")
    done, failed, refused = send(
        fleet,
        "print(producers.enqueue_train_model('plays.csv', n_components=4).id)\n"
        "print(producers.enqueue_train_model('missing.csv').id)\n"
        "print(producers.enqueue_refresh_embeddings(user_ids=[1, 2, 3, 4, 5]).id)",
    )
    wait_until(
        lambda: {flower.table().get(task, {}).get("state") for task in (done, failed)} == {"SUCCESS", "FAILURE"},
        60,
        "the ends",
    )

    # Then the table has the arguments as a person writes them, and the reason of the failure
    table = flower.table()
    assert table[done]["kwargs"] == "dataset=plays.csv n_components=4"
    assert "missing.csv" in table[failed]["result"]
    assert refused in table or flower.table()[refused]["kwargs"] == "user_ids=[1, 2, … 5 in all]"
    # … the worker is there, with its queues' lengths, under their names
    assert "worker0@test" in flower.get("/")[1]
    names = {
        queue["name"]: queue["messages"] for queue in json.loads(flower.get("/api/queues/length")[1])["active_queues"]
    }
    assert set(names) == {"celery", "batch", "training"}
    # … progress was counted
    assert re.search(
        r'flower_events_total\{.*task="train_model".*type="task-progress".*\} [1-9]', flower.get("/metrics")[1]
    )
    # … and nothing of it without the password
    for path in (
        "/",
        "/tasks",
        f"/task/{done}",
        "/broker",
        "/workers",
        "/worker/worker0@test",
        "/api/tasks",
        "/api/workers",
    ):
        assert flower.get(path, None)[0] == 401, path
        assert flower.get(path, "admin:wrong")[0] == 401, path
    assert "correct horse" not in flower.log.read_text()


@pytest.mark.integration
def test_a_training_is_not_buried_under_chunks_and_refreshes_for_each_play(
    module_fleet: Fleet, flower: Flower, wait_until: Wait
) -> None:
    write_plays(module_fleet.data_dir / "plays.csv")
    train, everybody, *plays = send(
        module_fleet,
        "job = producers.enqueue_train_model('plays.csv', n_components=4, promote='always')\n"
        "job.wait(100)\n"
        "all = producers.enqueue_compute_recommendations(top_k=3)\n"
        "plays = [producers.enqueue_refresh_embeddings(plays=[producers.Play(user_id=1, item_id=n)]) for n in "
        "range(9)]\n"
        "for sent in (all, *plays): sent.wait(100)\n"
        "print(job.id, all.id, *(sent.id for sent in plays))",
    )
    # An event of later than all of them has arrived: so have theirs.
    (last,) = send(module_fleet, "job = producers.enqueue_refresh_embeddings(); job.wait(100); print(job.id)")
    wait_until(lambda: flower.table().get(last, {}).get("state") == "SUCCESS", 30, "the last event")

    table = flower.table()

    assert table[train]["state"] == table[everybody]["state"] == "SUCCESS"
    assert not set(plays) & set(table)
    assert "compute_chunk" not in {row["name"] for row in table.values()}


def test_what_is_folded_away_is_shown_when_it_fails() -> None:
    shown: list[dict[str, Any]] = []
    folding = Folding(shown.append)
    for task_id, end in (("good", "task-succeeded"), ("bad", "task-failed")):
        folding.event({"type": "task-received", "uuid": task_id, "name": "compute_chunk"})
        folding.event({"type": "task-started", "uuid": task_id})
        folding.event({"type": end, "uuid": task_id})
    folding.event({"type": "task-received", "uuid": "all", "name": "refresh_embeddings", "kwargs": "{}"})
    folding.event({"type": "worker-heartbeat"})

    assert [(event["type"], event.get("uuid")) for event in shown] == [
        ("task-received", "bad"),
        ("task-failed", "bad"),
        ("task-received", "all"),
        ("worker-heartbeat", None),
    ]


@pytest.mark.browser
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_person_logs_in_with_a_browser_and_sees_a_failed_task_with_its_reason(
    module_fleet: Fleet, flower: Flower, wait_until: Wait
) -> None:
    (failed,) = send(module_fleet, "print(producers.enqueue_train_model('missing.csv').id)")
    wait_until(lambda: flower.table().get(failed, {}).get("state") == "FAILURE", 30, "the failure")
    with Chromium(1300, 800) as browser:
        browser.open(f"{flower.url}/tasks")
        assert "train_model" not in browser.run("return document.documentElement.innerText")
        browser.open(f"http://admin:correct%20horse@127.0.0.1:{flower.port}/tasks")
        browser.wait_for("return document.body.innerText.includes('dataset=missing.csv')")
        browser.open(f"{flower.url}/task/{failed}")
        page = browser.text("body")
        assert "FAILURE" in page
        assert "missing.csv" in page
        browser.open(f"{flower.url}/broker")
        browser.wait_for("return ['celery', 'batch', 'training'].every(name => document.body.innerText.includes(name))")


def test_flower_refuses_to_start_without_a_password(module_fleet: Fleet) -> None:
    flower = Flower(module_fleet, None)
    assert flower.process.wait(30) == 1
    assert "FLOWER_BASIC_AUTH=user:password" in flower.log.read_text()


@pytest.mark.parametrize("auth", ["password", "admin:", ":password", "admin:good,password"])
def test_flower_refuses_a_user_without_a_password_and_a_password_without_a_user(module_fleet: Fleet, auth: str) -> None:
    flower = Flower(module_fleet, auth)
    assert flower.process.wait(30) == 1
    assert "FLOWER_BASIC_AUTH: must be user:password" in flower.log.read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{'dataset': 'plays.csv', 'n_components': 8}", "dataset=plays.csv n_components=8"),
        ("{'user_ids': [1, 'b', 3]}", "user_ids=[1, 'b', 3]"),
        ("{'user_ids': [1, 2, 3, 4]}", "user_ids=[1, 2, … 4 in all]"),
        ("{'plays': [{'user_id': 7, 'plays': 3.0}]}", "plays=[(user_id=7 plays=3.0)]"),
        ("{'metrics': {'recall@20': 0.27}}", "metrics=(recall@20=0.27)"),
        ("3/20 sweeps", "3/20 sweeps"),
        ("{'user_ids': [1, 2, ...", "{'user_ids': [1, 2, ..."),
        ("{}", ""),
        (None, ""),
        ("[1]", "[1]"),
    ],
)
def test_arguments_are_shown_as_a_person_writes_them(text: str | None, shown: str) -> None:
    assert readable_arguments(text) == shown


def test_a_failure_is_shown_with_its_reason_and_long_texts_are_cut() -> None:
    task = SimpleNamespace(
        state="FAILURE", kwargs="{'dataset': '" + "x" * 500 + "'}", exception="DataError('no')", result=None
    )
    shown = readable(task)
    assert shown.result == "DataError('no')"
    assert len(shown.kwargs) < 200
