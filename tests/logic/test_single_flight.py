"""Equal requests at the same time: one does the work, all get the result, nobody is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from timbral import keys
from timbral.logic.single_flight import SingleFlight, digest_of

DIGEST = digest_of("train_model", {"dataset": "plays.csv"})
Make = Callable[..., SingleFlight]


@pytest.fixture
def make(client: redis.Redis) -> Make:
    def made(alive: set[str] | None = None, look_after_s: float = 60.0) -> SingleFlight:
        return SingleFlight(client, lambda task_id: task_id in (alive or set()), look_after_s)

    return made


def join(flights: SingleFlight, task_id: str, sent_at_s: float | None = None, own: dict[str, int] | None = None) -> str:
    return flights.join(DIGEST, task_id, "train_model", {"dataset": "plays.csv"}, sent_at_s=sent_at_s, own=own).role


def test_the_first_leads_and_the_others_follow(make: Make) -> None:
    flights = make()

    with ThreadPoolExecutor(8) as pool:
        roles = list(pool.map(lambda number: join(flights, f"task {number}"), range(24)))

    assert sorted(roles) == ["follow"] * 23 + ["lead"]
    assert len(flights.followers(DIGEST)) == 23


def test_a_leader_that_is_delivered_again_leads_on(make: Make) -> None:
    flights = make()
    assert [join(flights, "a"), join(flights, "b"), join(flights, "a"), join(flights, "b")] == [
        "lead",
        "follow",
        "lead",
        "follow",
    ]


def test_the_request_is_over_only_when_every_follower_has_its_result(make: Make) -> None:
    flights = make()
    join(flights, "a")
    join(flights, "b")
    first = flights.followers(DIGEST)
    join(flights, "c")

    assert flights.release(DIGEST, "a", first, {"x": 1}) == ["c"]
    assert join(flights, "d") == "follow"
    assert sorted(flights.release(DIGEST, "a", ["c"], {"x": 1})) == ["d"]
    assert flights.release(DIGEST, "a", ["d"], {"x": 1}) == []
    assert join(flights, "e") == "lead"


def test_who_waited_in_the_queue_while_the_work_ran_takes_its_result(make: Make) -> None:
    flights = make()
    join(flights, "a")
    flights.release(DIGEST, "a", (), {"model_version": "v"})
    ended_at_s = float(flights.redis.hget(keys.once(DIGEST), "ended_at") or 0)

    joined = flights.join(DIGEST, "b", "train_model", {}, sent_at_s=ended_at_s - 0.001)

    assert (joined.role, joined.result) == ("done", {"model_version": "v"})
    assert join(flights, "c", ended_at_s + 0.001) == "lead", "it was asked for after the work had ended"


def test_a_leader_that_is_delivered_after_it_was_done_gets_its_own_result(make: Make) -> None:
    flights = make()
    join(flights, "a")
    flights.release(DIGEST, "a", (), {"n": 1})

    assert flights.join(DIGEST, "a", "train_model", {}).result == {"n": 1}


def test_a_failure_is_not_kept(make: Make) -> None:
    flights = make()
    join(flights, "a")
    flights.release(DIGEST, "a", (), None)

    assert join(flights, "b", sent_at_s=0.0) == "lead"
    assert not flights.redis.exists(keys.once_followers(DIGEST))


def test_a_leader_whose_message_is_still_somewhere_keeps_leading(make: Make) -> None:
    join(make(), "a")
    late = make(alive={"a"}, look_after_s=-1)
    late.postpone([DIGEST])

    assert join(make(alive={"a"}), "b") == "follow"


def test_the_next_to_ask_takes_over_from_a_leader_that_is_gone(make: Make) -> None:
    make(look_after_s=-1).join(DIGEST, "a", "train_model", {})

    flights = make(alive=set())
    assert join(flights, "b") == "lead"
    assert flights.release(DIGEST, "a", (), {"late": 1}) == []
    assert join(flights, "c") == "follow", "the old leader's late end has changed nothing"


def test_a_follower_of_a_leader_that_is_gone_is_handed_the_work(make: Make) -> None:
    flights = make(look_after_s=-1)
    flights.join(DIGEST, "a", "train_model", {"dataset": "plays.csv"})
    make().redis.sadd(keys.once_followers(DIGEST), "b")

    (flight,) = flights.due()
    assert (flight.leader, flight.arguments) == ("a", {"dataset": "plays.csv"})
    assert flights.hand_over(flight) == "b"
    assert flights.hand_over(flight) is None, "it was handed over before"
    assert make().join(DIGEST, "b", "train_model", {}).role == "lead"
    assert flights.followers(DIGEST) == []


def test_a_follower_keeps_what_is_its_own(make: Make) -> None:
    flights = make()
    join(flights, "a")
    join(flights, "b", own={"plays": 3})

    assert flights.own_part(DIGEST, "b") == {"plays": 3}
    assert flights.own_part(DIGEST, "c") == {}


def test_requests_are_equal_when_their_arguments_and_context_are() -> None:
    assert digest_of("t", {"a": 1, "b": "x"}, "v1") == digest_of("t", {"b": "x", "a": 1}, "v1")
    different = {
        digest_of("t", {"a": 1}),
        digest_of("t", {"a": "1"}),
        digest_of("u", {"a": 1}),
        digest_of("t", {"a": 1}, 1),
    }
    assert len(different) == 4
