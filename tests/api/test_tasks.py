"""POST /tasks/{task}: what reaches the queue, and what is refused at the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from timbral.api.middleware.limits import MAX_BODY_BYTES

Queued = Callable[[str], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("task", "queue", "arguments"),
    [
        ("train_model", "training", {"dataset": "plays.csv", "n_components": 8, "promote": "never"}),
        ("compute_recommendations", "celery", {"user_ids": [1, "1"], "top_k": 3}),
        ("refresh_embeddings", "celery", {"plays": [{"user_id": "ü", "item_id": 7, "plays": 2.5}]}),
        ("compute_recommendations", "celery", {}),
    ],
)
def test_a_task_is_on_its_queue_with_its_arguments_when_the_answer_comes(
    writer: httpx.Client, queued: Queued, task: str, queue: str, arguments: dict[str, Any]
) -> None:
    answer = writer.post(f"/tasks/{task}", json=arguments)

    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{job_id}"
    assert queued(queue)[0] == {"task": task, "id": job_id, "kwargs": arguments}
    followed = writer.get(answer.headers["location"])
    assert (followed.status_code, followed.json()["state"]) == (200, "PENDING")


def test_bad_arguments_are_refused_with_each_bad_field(writer: httpx.Client, queued: Queued) -> None:
    answer = writer.post("/tasks/train_model", json={"dataset": "../up.csv", "tol": 7, "colour": "red"})

    assert answer.status_code == 422
    refused = answer.json()
    assert refused["error"] == "MessageError"
    assert {p["field"]: p["value"] for p in refused["problems"]} == {
        "dataset": "'../up.csv'",
        "tol": "7",
        "colour": "'red'",
    }
    assert queued("training") == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b"{", "application/json", 400),
        (b'{"user_ids": [NaN]}', "application/json", 400),
        (b'{"user_ids": ["\\ud800"]}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"top_k": ' + b"9" * 10_000 + b"}", "application/json", 400),
        (b"[1]", "application/json", 422),
        (b'{"user_ids": [1.5]}', "application/json; charset=utf-8", 422),
        (b'{"user_ids": [18446744073709551616]}', "application/json", 422),
        (b'{"user_ids": []}', "application/json", 422),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_in_json(
    writer: httpx.Client, queued: Queued, body: bytes, content_type: str | None, status: int
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = writer.post("/tasks/compute_recommendations", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert set(answer.json()) >= {"error", "message"}
    assert queued("celery") == []


def _blanks() -> Iterator[bytes]:
    for _ in range(MAX_BODY_BYTES // 2**20 + 2):
        yield b" " * 2**20


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused_whether_it_says_its_length_or_not(
    writer: httpx.Client, queued: Queued, chunked: bool
) -> None:
    content = _blanks() if chunked else b" " * (MAX_BODY_BYTES + 1)
    try:
        answer = writer.post("/tasks/train_model", content=content, headers={"content-type": "application/json"})
    except httpx.WriteError:
        pytest.skip("the connection was closed before the client had read the answer")

    assert answer.status_code == 413
    assert answer.json()["error"] == "ContentTooLarge" or "Large" in answer.json()["error"]
    assert queued("training") == []


def test_a_message_of_the_largest_size_goes_through(writer: httpx.Client, queued: Queued) -> None:
    user_ids = list(range(10**15, 10**15 + 100_000))

    answer = writer.post("/tasks/compute_recommendations", content=json.dumps({"user_ids": user_ids}),
                         headers={"content-type": "application/json"})  # fmt: skip

    assert answer.status_code == 202
    assert queued("celery")[0]["kwargs"]["user_ids"] == user_ids


def test_an_unknown_task_and_a_wrong_method_are_told_apart(writer: httpx.Client) -> None:
    assert writer.post("/tasks/delete_everything", json={}).status_code == 404
    wrong = writer.get("/tasks/train_model")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    several = writer.put("/jobs/some-id")
    assert (several.status_code, several.headers["allow"]) == (405, "DELETE, GET, HEAD")
