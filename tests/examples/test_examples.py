"""The worked examples, run as their docstrings say, against a real worker."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet_fixtures import Fleet

import producers
from timbral.stack.embedded_server import EmbeddedServer

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
USER = 1002


def run(name: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)


def test_the_script_trains_recommends_and_prints_a_list(app_environment: dict[str, str]) -> None:
    ran = run("script.py", "plays.csv", str(USER), environment=app_environment)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert any(line.startswith("model ") for line in lines)
    listed = [line.split("\t") for line in lines if "\t" in line]
    assert len(listed) == 5
    assert sum(int(item) // 100 == 2 for item, _ in listed) >= 4


def test_the_script_says_what_is_wrong_with_the_data_and_when_redis_is_away(app_environment: dict[str, str]) -> None:
    ran = run("script.py", "no-such-file.csv", "7", environment=app_environment)
    assert ran.returncode == 1
    assert "no-such-file.csv" in ran.stderr
    ran = run("script.py", "plays.csv", "7", environment={**app_environment, "REDIS_URL": "redis://127.0.0.1:1"})
    assert ran.returncode == 3
    assert "not available" in ran.stderr


def test_a_bare_send_task_without_our_code_gets_a_list(live: Fleet, app_environment: dict[str, str]) -> None:
    with live.server.client() as client:
        client.delete(f"recommendations:user:{USER}")
    code = (EXAMPLES / "bare_send_task.py").read_text()
    assert "import producers" not in code
    assert "import timbral" not in code
    ran = run("bare_send_task.py", f"{live.server.url}/0", str(USER), environment=app_environment)
    assert ran.returncode == 0, ran.stderr
    assert "result SUCCESS" in ran.stdout
    assert len(json.loads(ran.stdout.splitlines()[-1])) == 5


class Web:
    """The example's web app, called in this process."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                return await client.request(method, path, **options)

        return asyncio.run(call())

    def get(self, path: str) -> httpx.Response:
        return self._call("GET", path)

    def post(self, path: str, params: dict[str, Any]) -> httpx.Response:
        return self._call("POST", path, params=params)


@pytest.fixture
def web(live: Fleet, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return Web(importlib.import_module("fastapi_app").app)


def ids(answer: Any) -> list[Any]:
    return [item["item_id"] for item in answer.json()["items"]]


def test_the_web_app_shows_a_list_folds_a_play_in_and_takes_a_dislike(web: Web, wait_until: Any) -> None:
    producers.enqueue_compute_recommendations(user_ids=[USER]).wait(100)
    first, second, *_ = [item["item_id"] for item in web.get(f"/home/{USER}").json()["items"]]
    sent = web.post("/played", params={"user_id": USER, "item_id": first})
    assert (sent.status_code, sent.json()) == (200, {"recorded": 1})
    wait_until(lambda: first not in ids(web.get(f"/home/{USER}")), 60, "a list without what was played")
    assert web.post("/dislike", params={"user_id": USER, "item_id": second}).json() == {"blocked": 1}
    left = [item["item_id"] for item in web.get(f"/home/{USER}").json()["items"]]
    assert first not in left
    assert second not in left
    producers.unblock_items(USER, [second])
    assert web.get("/home/424242").json()["items"], "a stranger gets what is popular"


def test_the_web_app_answers_while_redis_is_away(web: Web, own_server: EmbeddedServer) -> None:
    producers.connect(own_server.url)
    own_server.stop()
    assert web.get("/home/1").json() == {"items": []}
    answer: Any = web.post("/played", params={"user_id": 1, "item_id": 2})
    assert answer.status_code == 503


def test_the_notebook_runs_from_top_to_bottom_and_stores_no_output(
    app_environment: dict[str, str], tmp_path: Path
) -> None:
    notebook = json.loads((EXAMPLES / "first_model.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (tmp_path / "notebook.py").write_text("\n".join("".join(cell["source"]) for cell in cells))

    ran = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        env=app_environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stderr
    assert "1,000 users" in ran.stdout
    assert "a plot of" in ran.stdout
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
