"""GET /health, /ready, /metrics, and an API whose Redis is away."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import timbral
from timbral import keys
from timbral.stack.embedded_server import EmbeddedServer
from tools.example_users import Example

Wait = Callable[..., None]


def test_an_api_is_alive_and_ready(http: httpx.Client, example: Example) -> None:
    health = http.get("/health").json()
    assert (health["status"], health["version"]) == ("alive", timbral.__version__)
    assert health["fleet"]["model"] == example.served.version
    assert health["fleet"]["problems"] == ["no worker takes tasks"]
    assert http.get("/ready").json() == {"status": "ready", "model_version": example.served.version}


def test_without_redis_the_api_lives_is_not_ready_and_says_when_to_come_again(start_api: Callable[..., Any]) -> None:
    api = start_api("redis://:secret@127.0.0.1:1")
    with api.client() as client:
        assert client.get("/health").json()["fleet"] is None
        for method, path in [
            ("GET", "/ready"),
            ("GET", "/users/1/recommendations"),
            ("GET", "/users/1/recommendations?limit=3"),
            ("GET", "/users/1"),
            ("GET", "/users/1/explain/2"),
            ("GET", "/items/1/similar"),
            ("GET", "/models"),
            ("GET", "/models/v"),
            ("GET", "/jobs/x"),
            ("GET", "/jobs/x/events"),
            ("DELETE", "/jobs/x"),
            ("POST", "/tasks/compute_recommendations"),
        ]:
            answer = client.request(method, path, json={} if method == "POST" else None)
            assert (answer.status_code, answer.json()["error"]) == (503, "RedisUnavailableError"), path
            assert int(answer.headers["retry-after"]) > 0
            assert "secret" not in answer.text
    assert "secret" not in api.log


def test_an_api_outlives_an_outage_of_redis(
    own_server: EmbeddedServer, start_api: Callable[..., Any], wait_until: Wait
) -> None:
    with own_server.client() as client:
        client.set(keys.recommendations_user(1), '[{"item_id":5,"score":1.0}]')
    api = start_api(own_server.url)
    with api.client() as client:
        assert client.get("/users/1/recommendations").json()["source"] == "cache"
        own_server.kill()
        assert client.get("/users/1/recommendations").status_code == 503
        assert client.get("/ready").status_code == 503
        own_server.start()
        answer = client.get("/users/1/recommendations")
        assert (answer.status_code, answer.json()["source"]) == (200, "cache")
        assert client.get("/ready").status_code == 200
        assert client.post("/tasks/compute_recommendations", json={}).status_code == 202
        # A restart that nobody noticed: every connection that was kept is dead.
        own_server.stop()
        own_server.start()
        assert client.get("/users/1/recommendations").status_code == 200
        assert client.get("/models").status_code == 200


def test_metrics_count_by_route_and_never_by_id(http: httpx.Client) -> None:
    def counted(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", http.get("/metrics").text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    route = '{method="GET",route="/users/{user_id}/recommendations",status="200"}'
    lines = [
        f"timbral_http_requests_total{route}",
        'timbral_http_recommendations_total{source="cache"}',
        'timbral_http_recommendations_total{source="popular"}',
        'timbral_http_request_duration_seconds_count{route="/users/{user_id}/recommendations"}',
        'timbral_http_requests_total{method="GET",route="(none)",status="404"}',
    ]
    before = [counted(line) for line in lines]
    http.get("/users/1/recommendations")
    http.get("/users/1/recommendations?limit=2")
    http.get("/users/some-stranger/recommendations")
    http.get("/no/such/path/some-stranger")

    assert [counted(line) - was for line, was in zip(lines, before, strict=True)] == [3, 2, 1, 3, 1]
    assert "some-stranger" not in http.get("/metrics").text


def test_several_processes_are_counted_together_and_end_with_one_signal(
    seeded: Any, start_api: Callable[..., Any], wait_until: Wait
) -> None:
    api = start_api(seeded.server.url, API_WORKERS="2", API_TOKEN="x")
    wait_until(lambda: api.log.count("Application startup complete") == 2, 20, "the start of both processes")
    children = Path(f"/proc/{api.process.pid}/task/{api.process.pid}/children").read_text().split()
    n_requests = 40

    for _ in range(n_requests):  # a connection each, so that both processes get some
        assert httpx.get(f"{api.url}/users/2/recommendations").status_code == 200

    text = httpx.get(f"{api.url}/metrics").text
    assert f'timbral_http_recommendations_total{{source="cache"}} {n_requests}.0' in text
    api.process.send_signal(signal.SIGINT)
    assert api.process.wait(10) == 0
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 5, "the end of the children")


@pytest.mark.parametrize("path", ["/redoc", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/app.py"])
def test_there_is_nothing_else(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404
