"""Who may write, who may read, and doors that do not open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from timbral.api.middleware.auth import check_not_open_to_the_world, is_loopback
from timbral.config.settings import read_settings
from timbral.errors import SettingsError

StartApi = Callable[..., Any]
WRITES = [
    ("POST", "/tasks/train_model"),
    ("POST", "/tasks/nothing"),
    ("DELETE", "/jobs/x"),
    ("PUT", "/"),
    ("PATCH", "/jobs/x"),
]


@pytest.mark.parametrize(("method", "path"), WRITES[:-2])
@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer wrong", "Bearer", "Basic YTpi", "a token for the tests", "Bearer a token for the test", "Bearer ü"],
)
def test_writing_without_the_right_token_is_refused(
    http: httpx.Client, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode()}

    answer = http.request(method, path, headers=headers, json={"dataset": "x.csv"})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"] == "Unauthorized"


def test_reading_is_open_without_a_read_token(http: httpx.Client) -> None:
    assert http.get("/users/1/recommendations").status_code == 200


def test_with_a_read_token_reading_needs_one_of_both_tokens(start_api: StartApi) -> None:
    api = start_api("redis://127.0.0.1:1", API_TOKEN="write it", API_READ_TOKEN="read it")

    def status(method: str, path: str, token: str | None) -> int:
        headers = {} if token is None else {"authorization": f"bearer {token}"}
        return httpx.request(method, api.url + path, headers=headers).status_code

    for path in ("/users/1/recommendations", "/users/1", "/models", "/metrics", "/jobs/x", "/nowhere"):
        assert status("GET", path, None) == 401
        assert status("GET", path, "wrong") == 401
        assert status("GET", path, "read it") != 401
        assert status("GET", path, "write it") != 401
    assert status("POST", "/tasks/train_model", "read it") == 401
    for path in ("/console/login", "/health", "/openapi.json", "/static/page.js"):
        assert status("GET", path, None) == 200
    assert httpx.get(api.url + "/openapi.json").json()["paths"]["/models"]["get"]["security"] == [{"token": []}]


def test_without_a_token_the_api_answers_to_names_of_this_machine_alone(start_api: StartApi) -> None:
    api = start_api("redis://127.0.0.1:1")

    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert httpx.get(f"{api.url}/users/1", headers={"host": host}).status_code == 503
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
        answer = httpx.get(f"{api.url}/users/1", headers={"host": host})
        assert (answer.status_code, answer.json()["error"]) == (421, "MisdirectedRequest")


def test_an_api_open_to_the_world_without_a_token_does_not_start(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("API_")} | {"API_PORT": "0"}

    ended = subprocess.run(
        [sys.executable, "-m", "timbral.api.serve"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ended.returncode == 2
    assert "API_TOKEN: must be set where API_HOST is not loopback (it is 0.0.0.0)" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "", "127.0.0.1.example.org"])
def test_only_a_token_opens_the_api_to_others(host: str) -> None:
    with pytest.raises(SettingsError, match="API_TOKEN"):
        check_not_open_to_the_world(read_settings(API_HOST=host))
    with pytest.raises(SettingsError, match="API_TOKEN"):
        check_not_open_to_the_world(read_settings(API_HOST=host, API_TOKEN=""))
    check_not_open_to_the_world(read_settings(API_HOST=host, API_TOKEN="x"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.1", "::1", "[::1]", "LOCALHOST"])
def test_loopback_is_told_from_the_rest(host: str) -> None:
    assert is_loopback(host)
    check_not_open_to_the_world(read_settings(API_HOST=host))
