"""The screens over HTTP: who may, what is bounded, and what is said when something is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from api_fixtures import csrf_of, log_in

from timbral import keys
from timbral.queue import dead_letters, ended_jobs
from timbral.stack.embedded_server import EmbeddedServer

SCREENS = (
    "/",
    "/console/users",
    "/console/items",
    "/console/item-sets",
    "/console/models",
    "/console/jobs",
    "/console/dead-letters",
    "/console/data",
    "/console/tuning",
    "/console/fleet",
)
PARTS = (
    "/console/now",
    "/console/fleet/now",
    "/console/items/exposure",
    "/console/data/history",
    "/console/data/tail",
    "/console/users/actions?user=5",
    "/console/models/compare",
    "/console/users/compare?user=5",
    "/console/items/5",
)


@pytest.fixture
def person(api: Any) -> Iterator[httpx.Client]:
    """Somebody who has logged in with the token for writing."""
    with api.client() as client:
        log_in(client, "a token for the tests")
        yield client


def test_every_screen_is_there_for_whoever_may_read(http: httpx.Client) -> None:
    for path in (*SCREENS, *PARTS):
        answer = http.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert "Traceback" not in answer.text


def test_the_first_screen_says_what_is_live_and_who_is_needed(http: httpx.Client, example: Any) -> None:
    text = http.get("/").text

    assert example.served.version in text
    assert "No worker takes tasks" in text
    assert ">400<" in text  # users


def test_with_a_read_token_every_screen_sends_to_the_login_and_the_token_opens_them(
    seeded: Any, start_api: Callable[..., Any]
) -> None:
    api = start_api(seeded.server.url, seeded.directory, API_TOKEN="write", API_READ_TOKEN="read")
    with api.client() as client:
        for path in (*SCREENS, *PARTS):
            sent = client.get(path)
            assert (sent.status_code, sent.headers["location"].partition("?")[0]) == (303, "/console/login"), path
        part = client.get("/console/now", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/console/login?next=%2Fconsole%2Fnow")

        assert log_in(client, "wrong").status_code == 401
        begun = log_in(client, "read")
        cookie = begun.headers["set-cookie"]
        assert begun.status_code == 303
        assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert "read" not in cookie.partition("=")[2].partition(".")[2].partition(";")[0]  # the token is not in it

        for path in (*SCREENS, *PARTS):
            shown = client.get(path)
            assert shown.status_code == 200, path
            # Who may only read is offered nothing that would be refused.
            assert set(re.findall(r'<form method="post" action="([^"]*)"', shown.text)) <= {"/console/logout"}, path
            assert "data-to=" not in shown.text, path
        assert client.get("/users/5/recommendations").status_code == 200  # what the screens' script asks
        assert client.get("/users/5/export").status_code == 401  # all that is stored of somebody is for writers
        page = client.get("/console/models")
        assert "Roll back" not in page.text
        refused = client.post("/console/models/roll-back", data={"csrf": csrf_of(page)})
        assert refused.status_code == 403
        assert client.post("/plays", json={"plays": [{"user_id": 1, "item_id": 2}]}).status_code == 401

        client.post("/console/logout", data={"csrf": csrf_of(page)})
        assert client.get("/console/models").status_code == 303


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/docs\n"]
)
def test_the_login_leads_to_no_other_site(person: httpx.Client, place: str) -> None:
    page = person.get("/console/login", params={"next": place})
    answer = person.post(
        "/console/login", data={"csrf": csrf_of(page), "token": "a token for the tests", "next": place}
    )

    assert answer.headers["location"] == "/"


def test_a_change_needs_its_sessions_own_form_and_its_own_site(
    person: httpx.Client, api: Any, store: redis.Redis
) -> None:
    letter = dead_letters.park(store, b"x", kind="garbage", reason="it is a test", queue="celery")
    where = f"/console/dead-letters/{letter}/delete"
    csrf = csrf_of(person.get("/console/dead-letters"))
    with api.client() as stranger:
        others = csrf_of(stranger.get("/console/login"))

    for form, headers in (
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": others}, {}),
        ({"csrf": csrf}, {"origin": "https://evil.example"}),
        ({"csrf": csrf}, {"origin": "null"}),
    ):
        assert person.post(where, data=form, headers=headers).status_code == 403, (form, headers)
    assert dead_letters.count(store) == 1

    done = person.post(where, data={"csrf": csrf}, headers={"origin": str(person.base_url)})

    assert done.status_code == 303
    assert dead_letters.count(store) == 0
    assert re.search(r"console .*action='letter deleted'.*role=writer", api.log)


def test_a_proxy_that_passes_on_no_host_is_told_of_it(person: httpx.Client) -> None:
    csrf = csrf_of(person.get("/console/jobs"))

    answer = person.post("/console/jobs/start", data={"csrf": csrf}, headers={"origin": "https://music.example"})

    assert answer.status_code == 403
    assert "have it pass on the Host header as it came" in answer.text


def test_no_screen_changes_anything_without_the_token_for_writing(http: httpx.Client, store: redis.Redis) -> None:
    page = http.get("/console/login")

    answer = http.post("/console/jobs/start", data={"csrf": csrf_of(page), "task": "train_model"})

    assert answer.headers["location"].startswith("/console/login")
    assert store.llen("training") == 0


def test_ten_thousand_versions_are_read_a_page_at_a_time(person: httpx.Client, store: redis.Redis) -> None:
    made = {f"20200101T000000-{n + 10}": n / 1e6 for n in range(10_000)}
    record = json.dumps(
        {"n_users": 7, "metrics": {"ndcg@20": 0.25}, "verdict": {"outcome": "worse", "reason": "worse: …"}}
    )
    with store.pipeline(transaction=False) as pipe:
        pipe.zadd(keys.MODEL_VERSIONS, made)
        pipe.mset({keys.model_metadata(version): record for version in made})
        pipe.execute()
    try:
        before = store.info("stats")["keyspace_hits"]
        first, last = person.get("/console/models"), person.get("/console/models?page=501")
        beyond = person.get("/console/models?page=99999999")
        n_read = store.info("stats")["keyspace_hits"] - before
    finally:
        store.zrem(keys.MODEL_VERSIONS, *made)
        store.delete(*(keys.model_metadata(version) for version in made))

    assert first.text.count("<tr>") == 21
    assert "of 10,001" in first.text
    assert "It is measurably worse" in first.text
    assert last.status_code == beyond.status_code == 200
    assert n_read < 300
    assert len(first.content) < 60_000


def test_very_many_jobs_and_letters_are_read_in_parts(person: httpx.Client, store: redis.Redis) -> None:
    sent = json.dumps({"task": "train_model", "kwargs": {"dataset": "x.csv"}, "queue": "training", "at": 1.0})
    store.hset(keys.SUBMITTED, mapping={f"job-{n}": sent for n in range(5_000)})
    for _ in range(60):
        dead_letters.park(store, b"x" * 1_000, kind="garbage", reason="it is a test", queue="celery")
    for n in range(60):
        ended_jobs.note(store, f"ended-{n}", "train_model", "FAILURE", {"dataset": "x.csv"})
    try:
        jobs, letters = person.get("/console/jobs"), person.get("/console/dead-letters?page=2")
    finally:
        store.delete(keys.SUBMITTED, keys.JOBS_ENDED)
        for letter in dead_letters.list_letters(store, 100):
            dead_letters.delete(store, letter.letter_id)

    assert "of 5,000 jobs that are not done" in jobs.text
    assert jobs.text.count('href="/console/jobs/job-') == 100
    assert letters.text.count("<article") == 20
    assert "21 to 40 of 60" in letters.text


def test_a_version_that_is_live_or_rolled_back_to_cannot_be_deleted(person: httpx.Client, example: Any) -> None:
    page = person.get(f"/console/models/{example.served.version}")

    answer = person.post(f"/console/models/{example.served.version}/delete", data={"csrf": csrf_of(page)})

    assert answer.status_code == 409
    assert "it is live" in answer.text
    assert person.get(f"/console/models/{example.served.version}").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/models/nothing", 404),
        ("/console/models/..%2f..%2fetc", 404),
        ("/console/jobs/nothing", 404),
        ("/console/items/no-such-item", 404),
        ("/console/nothing", 404),
        ("/console/models/compare?first=a&second=b", 404),
        ("/console/users/actions?user=", 422),
    ],
)
def test_what_is_not_there_is_said_on_a_page(person: httpx.Client, path: str, status: int) -> None:
    answer = person.get(path)

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers  # the session goes on


def test_a_redis_that_is_away_is_a_page_that_says_so(start_api: Callable[..., Any]) -> None:
    api = start_api("redis://127.0.0.1:1", API_TOKEN="write")

    with api.client() as client:
        for path in (
            "/",
            "/console/models",
            "/console/models/20200101T000000-1",
            "/console/jobs",
            "/console/jobs/some-id",
            "/console/data",
            "/console/data/imports/some-id",
            "/console/tuning",
            "/console/tuning/some-id",
            "/console/fleet",
            "/console/dead-letters",
            "/console/users/actions?user=5",
            "/console/users/compare?user=5",
            "/console/items/5",
            "/console/items?q=a",
        ):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert "Redis is away" in answer.text
            assert "Traceback" not in answer.text
            assert answer.headers["retry-after"]
        part = client.get("/console/now", headers={"hx-request": "true"})
        assert (part.status_code, 'role="alert"' in part.text, "<html" in part.text) == (503, True, False)
        assert log_in(client, "write").status_code == 303  # nothing of a session is in Redis
        sent = client.post(
            "/console/data/import",
            params={"name": "plays.csv"},
            content=b"user_id,item_id\n1,2\n",
            headers={"x-csrf-token": csrf_of(client.get("/console/login"))},
        )
        assert sent.status_code == 503
        assert "Redis is away" in sent.text


def test_before_anything_was_trained_the_first_screen_is_a_guide(
    own_server: EmbeddedServer, start_api: Callable[..., Any]
) -> None:
    api = start_api(own_server.url)

    with api.client() as client:
        guide = client.get("/").text
        assert f"curl -X POST {api.url}/plays" in guide
        assert "producers.record_plays(" in guide
        for path in (*SCREENS, *(part for part in PARTS if part != "/console/items/5")):
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)

        csrf = csrf_of(client.get("/"))
        sent = client.post("/console/jobs/start", data={"csrf": csrf, "task": "train_model"})

    assert sent.headers["location"].startswith("/console/jobs/")
    with own_server.client() as store:
        assert store.llen("training") == 1


def test_items_are_found_by_a_part_of_their_name(
    person: httpx.Client, example: Any, wait_until: Callable[..., None]
) -> None:
    name = example.name(7)

    def is_found() -> bool:
        return (
            f'href="/console/items/7" dir="auto">{name}'
            in person.get("/console/items", params={"q": name[2:].upper()}).text
        )

    wait_until(is_found, 10, "the names are read")
    assert "None of the 300 names" in person.get("/console/items", params={"q": "no such <name>"}).text


def test_a_play_and_a_block_from_a_form_have_their_effect(person: httpx.Client, store: redis.Redis) -> None:
    csrf = csrf_of(person.get("/console/users/actions?user=5"))
    try:
        played = person.post(
            "/console/users/play", data={"csrf": csrf, "user": "5", "item": "9"}, headers={"hx-request": "true"}
        )
        person.post("/console/users/block", data={"csrf": csrf, "user": "5", "item": "9"})
        recorded, blocked = store.lrange(keys.plays_user(5), 0, -1), store.smembers(keys.blocks_user(5))
        shown = person.get("/console/users/actions?user=5").text
        person.post("/console/users/unblock", data={"csrf": csrf, "user": "5", "item": "9"})
        left = store.smembers(keys.blocks_user(5))
    finally:
        store.delete(keys.plays_user(5), keys.blocks_user(5), keys.PLAYS_STREAM, keys.PLAYS_REFRESH, "celery")
        store.delete(keys.PLAYS_USERS, keys.PLAYS_COUNTS, keys.PLAYS_REFRESH_SENT)

    assert played.headers["hx-trigger"] == "listmoved"
    assert recorded[0].split(b" ", 1)[1].startswith(b"[9,")  # the int that the model has, not the text of the form
    assert blocked == {b"9"}
    assert "Unblock" in shown
    assert left == set()


def test_forgetting_needs_the_id_once_more(person: httpx.Client, store: redis.Redis) -> None:
    csrf = csrf_of(person.get("/console/users/actions?user=5"))

    refused = person.post("/console/users/forget", data={"csrf": csrf, "user": "5", "again": "6"})

    assert refused.status_code == 422
    assert store.llen("celery") == 0


@pytest.mark.parametrize("in_path", ["a%2Fb", "%252E", "%2525"])
def test_who_hid_an_item_is_back_at_that_very_item(person: httpx.Client, store: redis.Redis, in_path: str) -> None:
    token = csrf_of(person.get("/console/items/5"))
    try:
        for action in ("hide", "unhide"):
            answer = person.post(f"/console/items/{in_path}/{action}", data={"csrf": token})

            assert answer.status_code == 303, answer.text
            assert answer.headers["location"].partition("?")[0] == f"/console/items/{in_path}"
    finally:
        store.delete(keys.BLOCKS_ITEMS)


def test_an_item_that_no_item_can_be_is_told_so(http: httpx.Client) -> None:
    answer = http.get(f"/console/items/{'a' * 513}")

    assert answer.status_code == 422
    assert "must have 1 to 512 characters" in answer.text
