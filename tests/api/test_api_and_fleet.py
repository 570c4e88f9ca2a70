"""The whole way by HTTP alone: train, follow, recommend, read, with a real worker behind the queue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fleet_fixtures import Fleet

from timbral.demo.synthetic import make_listening_history

pytestmark = pytest.mark.integration


def _follow(client: httpx.Client, location: str) -> dict[str, Any]:
    """The job's last event."""
    job: dict[str, Any] = {}
    with client.stream("GET", f"{location}/events", timeout=60) as answer:
        for line in _data(answer.iter_lines()):
            job = json.loads(line)
    return job


def _data(lines: Iterator[str]) -> Iterator[str]:
    return (line.removeprefix("data: ") for line in lines if line.startswith("data: "))


def test_an_app_that_speaks_http_alone_gets_from_a_file_to_recommendations(
    fleet: Fleet, start_api: Callable[..., Any]
) -> None:
    history = make_listening_history(200, 150, 5, artists_per_user=15)
    history.write_csv(fleet.data_dir / "plays.csv")
    fleet.start()
    api = start_api(fleet.server.url, fleet.directory, API_TOKEN="t")
    with api.client(headers={"authorization": "Bearer t"}) as client:
        asked = client.post("/tasks/train_model", json={"dataset": "plays.csv", "value_col": "plays", "max_iter": 20})
        trained = _follow(client, asked.headers["location"])
        assert trained["state"] == "SUCCESS", trained
        assert trained["result"]["promoted"] is True
        assert client.get("/models").json()["current"] == trained["result"]["model_version"]
        assert client.get("/users/3/recommendations").json()["source"] != "cache"

        asked = client.post("/tasks/compute_recommendations", json={"top_k": 5})
        computed = _follow(client, asked.headers["location"])
        assert computed["state"] == "SUCCESS", computed
        assert computed["result"]["users_done"] == 200

        found = client.get("/users/3/recommendations").json()
        played = {i["item_id"] for i in client.get("/users/3?limit=200").json()["history"]}
        assert (found["source"], len(found["items"])) == ("cache", 5)
        assert not played & {item["item_id"] for item in found["items"]}
        assert played == set(history.item_ids[history.user_ids == 3].tolist())

        failed = _follow(client, client.post("/tasks/train_model", json={"dataset": "none.csv"}).headers["location"])
        assert (failed["state"], failed["error"]["error"]) == ("FAILURE", "DatasetNotFoundError")
        assert "none.csv" in failed["error"]["message"]
