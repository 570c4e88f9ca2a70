"""The screens of searches for settings over HTTP: their trials, what mattered, and how one is started."""

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
from timbral.tuning.kept_settings import KeptSettings
from timbral.tuning.trials import read_trials
from tools.screenshot_page import SEARCH, SEARCHED, add_search

FOUND = {
    "job_id": SEARCH, "dataset": "plays.csv", "outcome": "better", "reason": "+2 % against the defaults",
    "settings": {"regularization": 0.2}, "tried": {"regularization": 0.2}, "defaults": {"regularization": 0.7},
    "importances": {"regularization": 1.0}, "trials": {"complete": 3, "pruned": 6, "failed": 1}, "n_users": 9,
    "quality": {}, "durations_s": {"trials": 1.0, "judge": 1.0}, "tuned_at": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.fixture
def search(store: redis.Redis) -> Iterator[str]:
    """A search that runs."""
    add_search(store)
    yield SEARCH
    store.delete(
        keys.tuning_journal(SEARCH), keys.progress(SEARCH), keys.SUBMITTED, f"celery-task-meta-{SEARCH}",
        keys.tuning("plays.csv"), keys.tuning(None), keys.JOBS_ENDED,
    )  # fmt: skip


@pytest.fixture
def writing(api: Any) -> Iterator[httpx.Client]:
    with api.client() as client:
        log_in(client, "a token for the tests")
        yield client


def test_a_search_shows_each_trial_the_best_and_what_mattered(
    http: httpx.Client, store: redis.Redis, search: str
) -> None:
    trials, importances = read_trials(store, search)
    assert [trial.number for trial in trials] == list(range(40))
    assert set(importances) == set(SEARCHED)
    best = max(trial.quality for trial in trials if trial.quality is not None)

    page = http.get(f"/console/tuning/{search}").text

    assert page.count("<circle") == 40
    assert f"{best:.4g}</dd>" in page
    assert all(f"{name}: " in page for name in SEARCHED)  # a bar each
    assert f'href="/console/tuning/{search}"' in http.get("/console/tuning").text
    assert "<form method" not in page.split("<main")[1]  # who may only read is offered nothing


def test_looking_at_a_search_writes_nothing(http: httpx.Client, store: redis.Redis, search: str) -> None:
    before = store.llen(keys.tuning_journal(search))

    http.get(f"/console/tuning/{search}")

    assert store.llen(keys.tuning_journal(search)) == before
    assert read_trials(store, "no-such-job") == ([], {})
    assert not store.exists(keys.tuning_journal("no-such-job"))


def test_a_search_comes_as_a_stream_until_it_is_over(http: httpx.Client, store: redis.Redis, search: str) -> None:
    seen = []
    with http.stream("GET", f"/console/tuning/{search}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                seen.append(line[7:])
                if len(seen) == 1:
                    done = {"status": "SUCCESS", "result": FOUND, "task": "tune_model"}
                    store.set(f"celery-task-meta-{search}", json.dumps(done))
            if line == "event: done":
                break

    assert seen[0] == "moved"
    assert seen[-1] == "done"
    assert "+2 % against the defaults" in http.get(f"/console/tuning/{search}").text


def test_what_was_found_is_listed_and_one_press_from_a_training(
    writing: httpx.Client, store: redis.Redis, search: str, queued: Callable[[str], list[dict[str, Any]]]
) -> None:
    KeptSettings(store).keep(None, FOUND)
    store.set(f"celery-task-meta-{search}", json.dumps({"status": "SUCCESS", "result": FOUND, "task": "tune_model"}))
    assert "+2 % against the defaults" in writing.get("/console/tuning").text
    page = writing.get(f"/console/tuning/{search}")
    form = dict(re.findall(r'<input type="hidden" name="(task|dataset|settings)" value="([^"]*)"', page.text))

    writing.post("/console/jobs/start", data={"csrf": csrf_of(page), **form})

    assert queued("training")[0]["kwargs"] == {"dataset": "plays.csv", "settings": "tuned"}


def test_a_search_is_started_within_its_budget(
    writing: httpx.Client, queued: Callable[[str], list[dict[str, Any]]]
) -> None:
    csrf = csrf_of(writing.get("/console/tuning"))
    for wrong in ({"minutes": "soon"}, {"trials": "0"}, {"trials": "2.5"}, {"minutes": "-1"}):
        refused = writing.post("/console/tuning/start", data={"csrf": csrf, **wrong})
        assert refused.status_code == 422, wrong
        assert next(iter(wrong)) in refused.text

    started = writing.post("/console/tuning/start", data={"csrf": csrf, "minutes": "2.5", "dataset": " plays.csv "})

    assert started.headers["location"].startswith("/console/tuning/")
    sent = [one for queue in ("training", "batch", "celery") for one in queued(queue) if one["task"] == "tune_model"]
    assert [one["kwargs"] for one in sent] == [{"dataset": "plays.csv", "minutes": 2.5}]
    assert writing.get("/console/tuning/nothing").status_code == 404
