"""Ids that an app's code got wrong: refused, before a letter of a string is an id or a user is silently a cold one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis

import producers
from timbral import keys
from timbral.errors import ParameterError
from timbral.stack.embedded_server import EmbeddedServer

OF_MANY: dict[str, Callable[[Any], Any]] = {
    "forget_users": producers.forget_users,
    "hide_items": producers.hide_items,
    "unhide_items": producers.unhide_items,
    "block_items": lambda ids: producers.block_items(7, ids),
    "unblock_items": lambda ids: producers.unblock_items(7, ids),
    "put_item_set": lambda ids: producers.put_item_set("jazz", ids),
    "get_recommendations_many": producers.get_recommendations_many,
}
OF_ONE: dict[str, Callable[[Any], Any]] = {
    "forget_user": producers.forget_user,
    "get_recommendations": producers.get_recommendations,
    "get_similar": producers.get_similar,
    "blocked_items": producers.blocked_items,
}
NO_IDS = [1.0, float("nan"), True, b"7", [7], np.array([7]), 2**63, "", "x" * 513, "\ud800"]


@pytest.mark.parametrize("call", OF_MANY.values(), ids=OF_MANY)
@pytest.mark.parametrize("ids", ["abc", b"abc", {"a": 1}, 7, None], ids=repr)
def test_what_is_no_list_is_never_taken_apart(call: Any, ids: Any, connected: EmbeddedServer, client: Any) -> None:
    with pytest.raises(ParameterError, match=r"_ids must be a list of ids, got"):
        call(ids)

    assert not client.keys("*")


@pytest.mark.parametrize("call", OF_ONE.values(), ids=OF_ONE)
@pytest.mark.parametrize("one", NO_IDS, ids=lambda one: repr(one)[:12])
def test_what_is_no_id_is_no_cold_user(call: Any, one: Any, connected: EmbeddedServer, client: redis.Redis) -> None:
    with pytest.raises(ParameterError, match="an id"):
        call(one)

    assert not client.keys("*")


def test_ids_of_numpy_and_generators_are_ids(connected: EmbeddedServer, client: redis.Redis) -> None:
    client.set(keys.recommendations_user(7), '[{"item_id": 1, "score": 0.5}]')

    assert producers.get_recommendations(np.int64(7)) == [{"item_id": 1, "score": 0.5}]
    assert list(producers.get_recommendations_many(np.array([7, 8]))) == [7, 8]
    assert producers.hide_items(item_id for item_id in (np.int32(1), np.str_("a"))) == 2
    assert producers.hidden_items() == {1, "a"}
    assert producers.get_recommendations(7) == []


def test_the_name_of_one_set_is_no_list_of_names(connected: EmbeddedServer) -> None:
    with pytest.raises(ParameterError, match="allow must be a list of names of item sets, got 'jazz'"):
        producers.get_recommendations(7, allow="jazz")


def test_a_job_has_an_id_and_a_wait_an_end(connected: EmbeddedServer) -> None:
    for no_id in (None, "", 7):
        with pytest.raises(ParameterError, match="a job's id must be a string"):
            producers.job(no_id)  # type: ignore[arg-type]  # as an app without types has it
    with pytest.raises(ParameterError, match="timeout_s must be a number of seconds"):
        producers.job("x").wait(float("nan"))
