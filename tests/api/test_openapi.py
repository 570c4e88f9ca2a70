"""The OpenAPI description: whole, true (schemathesis asks a real api what it promises), and its examples valid."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from timbral.messages import MESSAGES, read_message

SCHEMATHESIS = Path(sys.executable).with_name("st")

ENQUEUED = ("train_model", "tune_model", "compute_recommendations", "refresh_embeddings")
"""What POST /tasks/… takes; users are forgotten and exported under /users."""


@pytest.fixture
def description(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


@pytest.fixture
def left_as_found(store: redis.Redis) -> Iterator[None]:
    """What was in Redis, and no more, is there again after the test."""
    found = {key: (store.dump(key), max(store.pttl(key), 0)) for key in store.scan_iter(count=1000)}
    yield
    store.flushdb()
    for key, (value, ttl_ms) in found.items():
        store.restore(key, ttl_ms, value)


@pytest.mark.timeout(600)
def test_schemathesis_finds_no_broken_promise(
    api: Any, left_as_found: None, description: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [str(SCHEMATHESIS), "--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    command += [
        "run",
        f"{api.url}/openapi.json",
        "--header",
        "Authorization: Bearer a token for the tests",
        "--no-color",
    ]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)

    with capfd.disabled():
        print("\n" + ended.stdout[ended.stdout.rfind("= SUMMARY =") :])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tested = [path for path in description["paths"] if not path.endswith(("/events", "/export"))]
    n_operations = sum(len(description["paths"][path]) for path in tested)
    assert re.search(rf"Tested: {n_operations}$", ended.stdout, re.MULTILINE)


def test_every_route_says_what_it_does_and_how_it_fails(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            for status, answer in operation["responses"].items():
                assert answer["description"], (method, path, status)
                if status >= "400":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (method, path, status)


def test_writing_is_marked_as_needing_a_token(description: dict[str, Any]) -> None:
    needing = {
        (method, path)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
        if operation.get("security") == [{"token": []}]
    }

    assert needing == {
        ("delete", "/item-sets/{name}"),
        ("delete", "/jobs/{job_id}"),
        ("delete", "/users/{user_id}"),
        ("put", "/item-sets/{name}"),
        ("get", "/users/{user_id}/export"),
        ("post", "/plays"),
        *(("post", f"/tasks/{task}") for task in ENQUEUED),
    }


def test_the_examples_of_the_tasks_are_messages(description: dict[str, Any]) -> None:
    for task in ENQUEUED:
        message = MESSAGES[task]
        body = description["paths"][f"/tasks/{task}"]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"] == {"$ref": f"#/components/schemas/{message.__name__}"}
        assert len(body["examples"]) >= 2
        for example in body["examples"].values():
            read_message(message, example["value"], strict=True)


def test_ids_keep_their_64_bits_in_the_schema(description: dict[str, Any]) -> None:
    kinds = description["components"]["schemas"]["Play"]["properties"]["user_id"]["anyOf"]

    assert kinds[0] == {"exclusiveMaximum": 2**63, "minimum": -(2**63), "type": "integer"}
