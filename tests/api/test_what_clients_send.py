"""What clients send without thinking: HEAD, no body, a misspelt parameter, a dot for an id, a cookie in place of a
header."""

from __future__ import annotations

import codecs
import gzip
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import redis
from api_fixtures import ApiProcess

from timbral import keys

LISTS = b'{"user_ids": [1]}'


@pytest.mark.parametrize("path", ["/", "/health", "/users/1/recommendations", "/users/1", "/models", "/openapi.json"])
def test_head_answers_as_get_does_without_the_body(http: httpx.Client, path: str) -> None:
    got, head = http.get(path), http.head(path)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == got.headers["content-length"]


def test_head_of_a_stream_ends(http: httpx.Client, store: redis.Redis) -> None:
    store.hset(keys.SUBMITTED, "waits-for-ever", "{}")
    try:
        head = http.head("/jobs/waits-for-ever/events", timeout=10)
    finally:
        store.hdel(keys.SUBMITTED, "waits-for-ever")

    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")


def test_a_task_without_required_fields_needs_no_body(writer: httpx.Client, queued: Any) -> None:
    assert writer.post("/tasks/compute_recommendations").status_code == 202
    refused = writer.post("/tasks/compute_recommendations", content=b"{}", headers={"content-type": "text/plain"})
    assert refused.status_code == 415


@pytest.mark.parametrize("path", ["/users/1/recommendations?limt=3", "/users/1?limit=3&names=true", "/models?page=2"])
def test_a_parameter_that_a_route_does_not_know_is_refused_by_its_name(http: httpx.Client, path: str) -> None:
    refused = http.get(path)

    assert refused.status_code == 422
    (problem,) = refused.json()["problems"]
    assert problem["field"] in ("limt", "names", "page")


def test_the_page_keeps_the_parameters_of_its_own(http: httpx.Client) -> None:
    assert http.get("/?user=1&utm_source=mail").status_code == 200


@pytest.mark.parametrize(
    ("user_id", "in_path"),
    [(".", "%252E"), ("..", "%252E%252e"), ("%2e", "%25252e"), ("%2E%2E", "%25252E%25252E"), ("..a", "..a")],
)
def test_a_dot_is_an_id_as_well(http: httpx.Client, store: redis.Redis, user_id: str, in_path: str) -> None:
    store.set(keys.recommendations_user(user_id), '[{"item_id": 5, "score": 1.0}]')
    try:
        answer = http.get(f"/users/{in_path}/recommendations").json()
    finally:
        store.delete(keys.recommendations_user(user_id))

    assert (answer["user_id"], answer["source"]) == (user_id, "cache")


def test_a_cookie_reads_what_a_header_would_and_never_writes(seeded: Any, start_api: Callable[..., Any]) -> None:
    api = start_api(seeded.server.url, seeded.directory, API_TOKEN="write", API_READ_TOKEN="read me")
    with httpx.Client(base_url=api.url, timeout=10) as client:
        assert client.get("/models").status_code == 401
        assert client.get("/models", headers={"cookie": "other=1; timbral_token=read%20me"}).status_code == 200
        assert client.get("/models", headers={"cookie": "timbral_token=wrong"}).status_code == 401
        for token in ("write", "read me"):
            sent = client.post("/tasks/refresh_embeddings", json={}, headers={"cookie": f"timbral_token={token}"})
            assert sent.status_code == 401


@pytest.mark.parametrize("path", ["/users/%ff/recommendations", "/users/a%C3?x=1", "/console/items/%ff", "/%ff"])
def test_bytes_that_are_no_utf_8_are_no_id(http: httpx.Client, path: str) -> None:
    refused = http.get(path)

    assert refused.status_code == 400
    assert refused.json()["message"] == "The path must be percent-encoded UTF-8"
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert http.get("/users/%EF%BF%BD/recommendations").json()["user_id"] == "\ufffd"  # which is an id like any other


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (gzip.compress(LISTS), {"content-encoding": "gzip"}, 415, "must not be compressed, got Content-Encoding gzip"),
        (LISTS, {"content-type": ""}, 415, "must be application/json, and say so in Content-Type"),
        (b'{"user_ids": [9007199254740993.0]}', {}, 422, "user_ids.0"),
        (b'{"user_ids": [15.5]}', {}, 422, "user_ids.0"),
        (codecs.BOM_UTF8 + LISTS, {}, 202, ""),
        (b'{"user_ids": [15.0]}', {}, 202, ""),
    ],
    ids=["gzip", "no type", "a rounded id", "a fraction", "a byte-order mark", "a whole float"],
)
def test_a_body_is_read_as_it_was_meant_or_refused(
    writer: httpx.Client, queued: Any, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = writer.post(
        "/tasks/compute_recommendations", content=body, headers={"content-type": "application/json"} | headers
    )

    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_a_client_that_leaves_within_its_body_is_no_error_of_ours(
    api: ApiProcess, writer: httpx.Client, wait_until: Callable[..., None]
) -> None:
    left = 'timbral_http_requests_total{method="POST",route="/plays",status="400"} '
    before = writer.get("/metrics").text.partition(left)[2].partition("\n")[0]
    head = f"POST /plays HTTP/1.1\r\nHost: localhost\r\nAuthorization: {writer.headers['authorization']}\r\n"
    with socket.create_connection((httpx.URL(api.url).host, httpx.URL(api.url).port or 80)) as client:
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode())

    wait_until(
        lambda: writer.get("/metrics").text.partition(left)[2].partition("\n")[0] not in ("", before), 10, "its end"
    )
    assert "ClientDisconnect" not in api.log
