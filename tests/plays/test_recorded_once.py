"""What was recorded is known, also by a server that is full, and not for ever."""

from __future__ import annotations

import time

import pytest
import redis

from timbral import keys
from timbral.config.settings import settings
from timbral.messages import Play
from timbral.plays.recorder import PlayRecorder
from timbral.stack.embedded_server import EmbeddedServer

LIFE_S = 120


def plays(*event_ids: str | None) -> list[Play]:
    return [Play(user_id=7, item_id=item, event_id=event_id) for item, event_id in enumerate(event_ids)]


def test_a_full_server_lets_go_of_its_cache_and_of_no_play(own_server: EmbeddedServer) -> None:
    # given: plays that were recorded, and lists that live for longer than anything of theirs
    with own_server.client() as client:
        recorder = PlayRecorder(client)
        assert recorder.record(plays("a", "b"), "call", LIFE_S).plays == 2
        assert recorder.record(plays(None), "message", settings.RESULT_EXPIRES_S).plays == 1
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)

        # when: there is room for a part of the lists
        for user in range(3_000):
            client.set(keys.recommendations_user(user), "x" * 1_000, ex=30 * settings.EVENT_ID_WINDOW_S)

        # then: whatever comes again counts once
        assert client.info("stats")["evicted_keys"] > 500
        assert recorder.record(plays("a", "b"), "call", LIFE_S)[:2] == (2, 0), "the answer that was lost"
        assert recorder.record(plays(None), "message", settings.RESULT_EXPIRES_S)[:2] == (1, 0)
        assert recorder.record(plays("a", "b", "c"), "another call", LIFE_S)[:2] == (1, 2)
        assert recorder.record(plays("a", "b", "c"), "another call", LIFE_S)[:2] == (1, 2), "and that"
        assert client.llen(keys.plays_user(7)) == 4


@pytest.mark.parametrize("windows_ago", [1, 2, 30])
def test_what_is_too_old_to_come_again_goes(client: redis.Redis, windows_ago: int) -> None:
    # given: the events of the last two windows in which some came, the newer of them so many windows ago
    prefix, now_n = keys.PLAYS_EVENTS, int(client.time()[0]) // settings.EVENT_ID_WINDOW_S
    newest = now_n - windows_ago
    client.hset(keys.PLAYS_COUNTS, f"newest {prefix}", newest)
    client.sadd(f"{prefix}{newest}", "event")
    client.sadd(f"{prefix}{newest - 1}", "event")

    # when
    PlayRecorder(client).record(plays("a"), "call", LIFE_S)

    # then: those of the window before this one are kept, without an end
    life = client.pttl(f"{prefix}{newest}"), client.pttl(f"{prefix}{newest - 1}"), client.pttl(f"{prefix}{now_n}")
    assert (life[0] == -1) == (windows_ago == 1)
    assert max(life[1], -2 if windows_ago == 1 else life[0]) <= 1_000
    assert life[1] != -1
    assert life[2] == -1


def test_a_clock_that_was_set_back_leaves_nothing_for_ever(client: redis.Redis) -> None:
    n = int(time.time()) // settings.EVENT_ID_WINDOW_S
    client.hset(keys.PLAYS_COUNTS, f"newest {keys.PLAYS_EVENTS}", n + 5)

    PlayRecorder(client).record(plays("a"), "call", LIFE_S)

    assert client.ttl(f"{keys.PLAYS_EVENTS}{n}") > 2 * settings.EVENT_ID_WINDOW_S
    assert PlayRecorder(client).record(plays("a"), "another", LIFE_S)[:2] == (0, 1)


def test_an_id_that_is_another_calls_records_again(client: redis.Redis) -> None:
    recorder = PlayRecorder(client)
    recorder.record(plays("a"), "first", LIFE_S)
    assert recorder.record(plays("a", "b"), "call", LIFE_S)[:2] == (1, 1)

    recorder.forget_call("call", LIFE_S, 5_000)

    assert recorder.record(plays("c", "d"), "call", LIFE_S)[:2] == (2, 0)
    assert recorder.record(plays("c", "d"), "call", LIFE_S)[:2] == (2, 0)
    assert client.llen(keys.plays_user(7)) == 4
