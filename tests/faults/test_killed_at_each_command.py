"""``kill -9`` behind each command that a task sends to Redis, one after the other: what it was asked for is there in
the end, once, and nothing is left of the tries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fleet_fixtures import Fleet
from taste import history, write_history

import producers
from timbral import keys
from timbral.history.table import HistoryTable

pytestmark = pytest.mark.faults

N_USERS = 120
MOST_COMMANDS = 200


class KilledFleet:
    """A worker whose process can be told to die, with a model."""

    def __init__(self, fleet: Fleet, client: redis.Redis) -> None:
        self.fleet = fleet
        self.client = client
        self.wanted = fleet.directory / "kill"
        self.done = self.wanted.with_suffix(".done")
        write_history(fleet.data_dir / "plays.csv", history())
        environment = {"KILL_AT": str(self.wanted), "CHUNK_SIZE": "1000", "KEEP_MODELS": "1"}
        options = ("-I", "killed_commands")
        fleet.start(environment=environment, python_path=Path(__file__).parent, options=options)
        producers.enqueue_train_model("plays.csv").wait(100)

    def at_each_command(self, task: str, ask: Callable[[int], None], wait: Any, step: int = 1) -> int:
        """``ask`` again and again, with a kill ``step`` commands later each time, until there are no more; how many."""
        for kills, number in enumerate(range(1, MOST_COMMANDS, step)):
            self.wanted.write_text(f"{task} {number}")
            ask(number)
            wait(self.at_rest, 30, f"rest after a kill behind command {number}")
            if not self.done.exists():
                return kills
            self.done.unlink()
        raise AssertionError(f"more than {MOST_COMMANDS} commands")

    def at_rest(self) -> bool:
        """Whether nothing waits, is held, is owed, or is left over."""
        waiting = [self.client.llen(queue) for queue in ("celery", "batch", "training")]
        owed = [self.client.zcard(name) for name in (keys.ONCE_OPEN, keys.JOBS_OPEN, keys.DEAD_LETTERS)]
        held = [self.client.hlen(name) for name in ("unacked", keys.SUBMITTED)]
        files = {path.stem for path in self.fleet.model_dir.glob("*.safetensors")}
        return not any(waiting + owed + held) and files == {text.decode() for text in self.versions()}

    def versions(self) -> list[bytes]:
        return list(self.client.zrange(keys.MODEL_VERSIONS, 0, -1))


@pytest.fixture
def killed(fleet: Fleet, client: redis.Redis) -> Iterator[KilledFleet]:
    producers.connect(fleet.server.url)
    yield KilledFleet(fleet, client)
    producers.connect()


def test_plays_with_a_refresh_count_once(killed: KilledFleet, wait_until: Any, observed: Any) -> None:
    def ask(number: int) -> None:
        user = 10_000 + number
        plays = [{"user_id": user, "item_id": item} for item in (100, 101)]
        answer = producers.enqueue_refresh_embeddings(plays=plays).wait(60)
        assert (answer["users"], answer["plays"]) == (1, 2)
        assert killed.client.llen(keys.plays_user(user)) == 2
        recorded = [json.loads(fields[b"plays"]) for _, fields in killed.client.xrange(keys.PLAYS_STREAM)]
        assert sum(play[0] == user for entry in recorded for play in entry) == 2
        assert producers.get_recommendations(user)

    n_kills = killed.at_each_command("refresh_embeddings", ask, wait_until)
    assert n_kills > 8
    observed("kill -9 behind each command of a refresh with plays", f"{n_kills} kills; each play once")


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("task", "step"), [("compute_recommendations", 1), ("compute_chunk", 1), ("train_model", 4), ("forget_users", 3)]
)
def test_the_same_for_everybodys_lists_trainings_and_erasures(
    killed: KilledFleet, task: str, step: int, wait_until: Any, observed: Any
) -> None:
    table = HistoryTable(killed.fleet.data_dir / "history")

    def lists(number: int) -> None:
        top_k = 3 + number % 5
        assert producers.enqueue_compute_recommendations(top_k=top_k).wait(60)["users_done"] >= N_USERS
        assert len(producers.get_recommendations(1000) or []) == top_k

    def training(number: int) -> None:
        before, user = killed.versions(), 20_000 + number
        producers.record_plays([{"user_id": user, "item_id": item} for item in (100, 101)])
        answer = producers.enqueue_train_model(promote="always", random_state=number).wait(60)
        assert answer["promoted"]
        assert len(set(killed.versions()) - set(before)) == 1
        assert len(table.plays_of(user)) == 2
        assert not killed.client.exists(keys.plays_user(user))

    def erasure(number: int) -> None:
        user = 1000 + number
        assert producers.forget_user(user).wait(60)["users"] == 1
        assert len(table.plays_of(user)) == 0
        assert not killed.client.exists(*keys.of_user(user))

    ask = {"train_model": training, "forget_users": erasure}.get(task, lists)
    n_kills = killed.at_each_command(task, ask, wait_until, step)
    assert n_kills > 5
    observed(f"the same in {task}", f"{n_kills} kills")
