from __future__ import annotations

import json
from typing import Any

import pytest
from celery import group, signature
from hypothesis import given
from hypothesis import strategies as st

from timbral.queue.envelope import body_problem, envelope_problem, headers_problem, task_id_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["task", "id", "root_id", "eta", "expires", "retries", "timelimit", "stamped_headers", "stamps", "group_index"]
HEADERS = {"task": "train_model", "id": "abc", "retries": 0, "timelimit": [None, None], "eta": None}


def envelope() -> dict[str, Any]:
    info = {"exchange": "", "routing_key": "celery"}
    return {"body": "W10=", "headers": dict(HEADERS), "properties": {"delivery_tag": "t", "delivery_info": info}}


def test_what_celery_sends_has_no_problem() -> None:
    # given: a message made by Celery itself
    from celery import Celery

    app = Celery("sender", set_as_current=False)
    message = app.amqp.as_task_v2(
        "an-id", "train_model", kwargs={"dataset": "a"}, countdown=3, time_limit=5, expires=60
    )

    assert headers_problem(json.loads(json.dumps(message.headers))) is None
    assert body_problem(json.loads(json.dumps(message.body))) is None
    assert envelope_problem(envelope()) is None


@pytest.mark.parametrize("lacking", ["task", "args", "kwargs", "options"])
@pytest.mark.parametrize("place", ["callbacks", "errbacks", "chain", "chord"])
def test_what_is_to_follow_has_all_that_sending_it_needs(place: str, lacking: str) -> None:
    following = json.loads(json.dumps(group(signature("refresh_embeddings"), signature("export_user", ("7",)))))
    whole = following if place == "chord" else [following]
    part = {name: value for name, value in following.items() if name != lacking}

    assert body_problem([[], {}, {place: whole}]) is None
    problem = body_problem([[], {}, {place: part if place == "chord" else [part]}])

    assert problem is not None
    assert problem.startswith(f"body: {place} is not a")


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_no_header_breaks_the_check(headers: dict[str, Any]) -> None:
    problem = headers_problem({**HEADERS, **headers})
    assert problem is None or isinstance(problem, str)


@given(JSON)
def test_no_value_breaks_the_checks(value: Any) -> None:
    assert isinstance(envelope_problem(value), str)
    assert body_problem(value) is None or isinstance(body_problem(value), str)
    assert task_id_of(value) is None
    for name in ("properties", "headers", "body"):
        problem = envelope_problem({**envelope(), name: value})
        assert problem is None or isinstance(problem, str)


@pytest.mark.parametrize("task_id", [None, 7, "", "x" * 256, "line\nbreak", ["a"]])
def test_a_task_id_is_a_short_printable_name(task_id: Any) -> None:
    message = envelope()
    message["headers"]["id"] = task_id

    assert task_id_of(message) is None
    assert "id" in (headers_problem(message["headers"]) or "")
