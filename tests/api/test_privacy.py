"""DELETE /users/{id} and GET /users/{id}/export, with a worker behind the queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fleet_fixtures import Fleet

import producers

USER = 1002


def test_both_need_the_token_for_writing_even_where_reading_is_open(http: httpx.Client) -> None:
    assert http.get("/users/7").status_code != 401
    for path in ("/users/7/export", "/users/a%2Fb/export"):
        assert http.get(path).status_code == 401
    assert http.delete("/users/7").status_code == 401


def test_the_reading_token_is_not_enough(start_api: Callable[..., Any], seeded: Any) -> None:
    api = start_api(seeded.server.url, seeded.directory, API_TOKEN="w", API_READ_TOKEN="r")
    with api.client(headers={"authorization": "Bearer r"}) as reader:
        assert reader.get("/users/7").status_code == 200
        assert reader.get("/users/7/export").status_code == 401


@pytest.mark.integration
def test_a_user_is_exported_then_forgotten_and_the_api_knows_them_no_more(
    fleet: Fleet, start_api: Callable[..., Any]
) -> None:
    from taste import history, write_history

    write_history(fleet.data_dir / "plays.csv", history())
    fleet.start()
    producers.connect(fleet.server.url)
    producers.enqueue_train_model("plays.csv").wait(100)
    producers.enqueue_compute_recommendations().wait(100)
    producers.enqueue_refresh_embeddings(plays=[{"user_id": USER, "item_id": 1}]).wait(100)
    producers.block_items(USER, [2])
    producers.put_item_set("some", range(10, 60))
    producers.enqueue_compute_recommendations(user_ids=[USER], allow=["some"]).wait(100)
    api = start_api(fleet.server.url, fleet.directory, API_TOKEN="t")
    with api.client(headers={"authorization": "Bearer t"}) as client:
        assert client.get(f"/users/{USER}").json()["n_items"] == 10

        exported = client.get(f"/users/{USER}/export").json()
        asked = client.delete(f"/users/{USER}")
        job: dict[str, Any] = {}
        deadline = time.monotonic() + 180
        while job.get("state") not in ("SUCCESS", "FAILURE"):
            assert time.monotonic() < deadline
            job = client.get(asked.headers["location"]).json()

        assert exported["user_id"] == str(USER)
        assert len(exported["models"][0]["plays"]) == 10
        assert len(exported["recommendations"]) == 10
        assert {entry["item_id"] for entry in exported["lists_from_sets"]["allow=some&exclude="]} <= {*range(10, 60)}
        assert [play["item_id"] for play in exported["new_plays"]] == [1]
        assert [play["item_id"] for play in exported["history"]] == [1]
        assert exported["blocked_items"] == [2]
        assert exported["is_forgotten"] is False
        assert job["state"] == "SUCCESS", job
        assert job["result"]["removed"]["model_rows"] == 1
        assert client.get(f"/users/{USER}").status_code == 404
        again = client.get(f"/users/{USER}/export").json()
        assert again["is_forgotten"] is True
        assert (again["models"], again["history"], again["new_plays"]) == ([], [], [])
    producers.connect()
