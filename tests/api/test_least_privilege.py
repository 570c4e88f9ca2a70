"""The Redis user of docs/http.md can do all that the API does, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from api_fixtures import csrf_of, log_in

from timbral.stack.embedded_server import EmbeddedServer
from tools.example_users import seed

DOCS = Path(__file__).parents[2] / "docs" / "http.md"
PASSWORD = "the API's own"


def test_an_api_works_with_the_rights_that_the_docs_give_it(
    own_server: EmbeddedServer, start_api: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    rules = re.search(r"^user api on #PASSWORD (.+)$", DOCS.read_text(), re.MULTILINE)
    assert rules, "docs/http.md has no line for the user api"
    with own_server.client() as admin:
        seed(admin, tmp_path / "models", n_users=60, n_items=80)
        admin.sadd("blocks:items", "79")
        admin.execute_command("ACL", "SETUSER", "api", "on", f">{PASSWORD}", *rules.group(1).split())
        host = f"127.0.0.1:{own_server.port}"
        api = start_api(f"redis://api@{host}", API_TOKEN="t", REDIS_PASSWORD=PASSWORD)
        with api.client(headers={"authorization": "Bearer t"}) as client:
            enqueued = client.post("/tasks/compute_recommendations", json={})
            assert enqueued.status_code == 202, (enqueued.text, admin.acl_log())
            job_id = enqueued.json()["id"]
            client.post("/tasks/train_model", json={"dataset": "x.csv"}).raise_for_status()
            client.post("/tasks/refresh_embeddings", json={}).raise_for_status()
            for path in (
                "/ready",
                "/health",
                "/users/1/recommendations?names=true",
                "/users/nobody/recommendations",
                "/users/1",
                "/items/1/similar",
                "/models",
                f"/models/{client.get('/models').json()['current']}",
                f"/jobs/{job_id}",
            ):
                answer = client.get(path)
                assert answer.status_code == 200, (path, answer.text)
            screens = (
                "models",
                "jobs",
                "dead-letters",
                "data",
                "tuning",
                "fleet",
                "items/exposure",
                "users/actions?user=1",
            )
            for screen in screens:
                answer = client.get(f"/console/{screen}")
                assert answer.status_code == 200, (screen, answer.text)
            assert client.get("/").status_code == 200
            assert client.delete(f"/jobs/{job_id}").status_code == 202
        assert "may not write" not in api.log
        denied = [entry for entry in admin.acl_log() if entry["reason"] != "auth"]
        assert denied == []
        with api.client() as person:
            log_in(person, "t")
            version = admin.get("model:current").decode()
            form = {"csrf": csrf_of(person.get(f"/console/models/{version}"))}
            for change in ("/console/models/roll-back", f"/console/models/{version}/promote"):
                answer = person.post(change, data=form)
                assert answer.status_code >= 400, change
                if "promote" in change:
                    assert "Redis does not let the API do this" in answer.text
                    assert "docs/http.md has the rights that it needs" in answer.text
            person.headers["x-csrf-token"] = form["csrf"]
            sent = person.post("/console/data/import", params={"name": "a.csv"}, content=b"user_id,item_id\n1,2\n")
            wait_until(lambda: "imported" in person.get(sent.headers["location"]).text, 20, "the import")

    with redis.Redis(port=own_server.port, username="api", password=PASSWORD) as client:
        for command in (
            ("SET", "recommendations:user:1", "[]"),
            ("SET", "model:current", "x"),
            ("DEL", "plays:user:1"),
            ("GET", "embeddings:user:1"),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("EVAL", "return 1", "0"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
