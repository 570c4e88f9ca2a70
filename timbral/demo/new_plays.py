"""The demo's heart: a user plays something new, and their list changes before the reader's eyes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import producers
from timbral.demo.data_source import DemoData
from timbral.errors import TimbralError

__all__ = ["play_something_new"]

N_PLAYED: Final = 5
N_OF_OWN: Final = 2
"""Of them from the user's own list: what was played is recommended no more, and others take its place."""
PLAYS_EACH: Final = 25
N_SHOWN: Final = 5
N_OTHERS: Final = 50
WAIT_S: Final = 60.0


def play_something_new(
    console: Console, data: DemoData, user_id: int | str, user_ids: Sequence[int | str]
) -> list[int | str]:
    """Record plays of the list's first items and of what people of another taste get; show the list before and after.

    Returns the items played; none where the user has played all there are.

    Raises:
        TimbralError: the list did not change.
    """
    before = producers.get_recommendations(user_id)
    if not before:
        console.print(f"User {user_id} has played every item there is: nothing is left to recommend, or to play anew.")
        return []
    own = {entry["item_id"] for entry in before}
    lists = producers.get_recommendations_many(user_ids[:N_OTHERS])
    # The list that has the least in common with the user's own.
    other = min(
        (listed for listed in lists.values() if listed),
        key=lambda listed: len(own & {e["item_id"] for e in listed}),
        default=before,
    )
    others = [entry["item_id"] for entry in other if entry["item_id"] not in own]
    played = [*(entry["item_id"] for entry in before[:N_OF_OWN]), *others][:N_PLAYED]
    started = time.perf_counter()
    producers.record_plays([{"user_id": user_id, "item_id": item, "plays": PLAYS_EACH} for item in played])
    after = _changed(user_id, before, started + WAIT_S)
    milliseconds = (time.perf_counter() - started) * 1_000
    console.print(_panel(data, user_id, played, (before, after), milliseconds))
    return played


def _changed(user_id: int | str, before: list[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
    while time.perf_counter() < deadline:
        after = producers.get_recommendations(user_id)
        if after is not None and after != before:
            return after
        time.sleep(0.001)
    raise TimbralError(f"the list of user {user_id} did not change within {WAIT_S:g} s")


def _panel(
    data: DemoData,
    user_id: int | str,
    played: list[int | str],
    lists: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    milliseconds: float,
) -> Panel:
    table = Table(box=None, pad_edge=False, expand=True)
    for heading in ("just played", "list before", "list after"):
        table.add_column(heading, ratio=1, no_wrap=True, overflow="ellipsis", header_style="dim")
    known = {entry["item_id"] for entry in lists[0]}
    for place in range(N_SHOWN):
        cells: list[Text | str] = [
            f"{PLAYS_EACH} × {data.name(played[place]).partition(' · ')[0]}" if place < len(played) else ""
        ]
        for listed in lists:
            item = listed[place]["item_id"] if place < len(listed) else None
            style = "bold green" if listed is lists[1] and item not in known else ""
            cells.append("" if item is None else Text(data.name(item).replace(" · ", "  "), style=style))
        table.add_row(*cells)
    title = f"user {user_id} plays something new: {milliseconds:.0f} ms from record_plays to the new list"
    return Panel(table, title=title, title_align="left", border_style="green", width=92)
