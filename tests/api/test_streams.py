"""Streams: counted, limited, and told when to end."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from timbral.api.refusals import Refused
from timbral.api.streams import MAX_STREAMS, Streams


def test_as_many_as_may_be_are_let_in_and_one_that_ends_makes_room() -> None:
    streams = Streams()
    with ExitStack() as others:
        for _ in range(MAX_STREAMS - 1):
            others.enter_context(streams.one())
        with streams.one(), pytest.raises(Refused, match=f"{MAX_STREAMS} event streams open already; look elsewhere"):
            streams.check_room("look elsewhere")

        streams.check_room("look elsewhere")
    assert streams.n_open == 0


def test_whoever_waits_is_woken_when_the_process_ends() -> None:
    async def waiting() -> tuple[bool, bool]:
        streams = Streams()
        before = await streams.closing_within(0.01)
        wait = asyncio.create_task(streams.closing_within(60))
        await asyncio.sleep(0)
        streams.closing.set()
        return before, await asyncio.wait_for(wait, 30)

    assert asyncio.run(waiting()) == (False, True)
