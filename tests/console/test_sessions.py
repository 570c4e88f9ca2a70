"""Sessions: what a token makes of somebody, how long, and what a cookie that was tampered with is worth."""

from __future__ import annotations

import time

import pytest

from timbral.api import sessions
from timbral.api.sessions import Sessions
from timbral.config.settings import read_settings


@pytest.fixture
def both() -> Sessions:
    return Sessions(read_settings(API_TOKEN="w", API_READ_TOKEN="r"))


def test_each_token_opens_its_own_rights_and_a_wrong_one_none(both: Sessions) -> None:
    assert (both.role_of("w"), both.role_of("r"), both.role_of("x"), both.role_of("")) == (
        "writer",
        "reader",
        None,
        None,
    )

    writer, reader = both.begin("writer"), both.begin("reader")
    assert both.may_write(writer)
    assert both.may_read(writer)
    assert both.may_read(reader)
    assert not both.may_write(reader)
    assert not both.may_read(None)


def test_another_process_with_the_same_tokens_reads_the_cookie(both: Sessions) -> None:
    begun = both.begin("reader")

    assert Sessions(read_settings(API_TOKEN="w", API_READ_TOKEN="r")).read(begun.value) == begun


def test_a_cookie_ends_with_its_token_and_with_its_time(both: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = both.begin("writer")
    assert Sessions(read_settings(API_TOKEN="changed", API_READ_TOKEN="r")).read(begun.value) is None

    later = time.time() + sessions.LIFE_S + 1
    monkeypatch.setattr(sessions.time, "time", lambda: later)
    assert both.read(begun.value) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.replace("reader", "writer"),
        lambda value: value.replace(".1", ".2", 1),
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value: value.rpartition(".")[0],
        lambda value: "writer.9999999999.nonce.",
        lambda value: "\udcff." * 4,
        lambda value: "",
    ],
)
def test_a_cookie_that_was_changed_is_none(both: Sessions, change: object) -> None:
    begun = both.begin("reader")

    assert both.read(change(begun.value)) is None


def test_whoever_is_nobody_may_do_what_no_token_guards() -> None:
    open_to_all = Sessions(read_settings())
    write_guarded = Sessions(read_settings(API_TOKEN="w"))
    nobody = open_to_all.begin("anyone")

    assert open_to_all.may_write(nobody)
    assert write_guarded.may_read(None)
    assert not write_guarded.may_write(write_guarded.begin("anyone"))


def test_no_two_sessions_share_a_csrf_token(both: Sessions) -> None:
    assert len({both.begin("writer").csrf_token for _ in range(20)}) == 20
