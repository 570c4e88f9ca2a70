"""What the demo prints: tables that a person likes to read."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import redis
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from timbral import keys
from timbral.data.interactions import Interactions
from timbral.demo.data_source import DemoData

__all__ = ["print_keys", "print_quality", "print_users"]

READ_BY_APPS = (
    (keys.RECOMMENDATIONS_USER, keys.recommendations_user("*"), "a user's list, best first, as JSON"),
    (keys.RECOMMENDATIONS_POPULAR, keys.RECOMMENDATIONS_POPULAR, "the list for a user nobody knows"),
    (keys.embeddings(keys.USER_EMBEDDINGS), keys.embeddings(keys.USER_EMBEDDINGS) + "*", "all users' vectors"),
    (keys.embeddings(keys.ITEM_EMBEDDINGS), keys.embeddings(keys.ITEM_EMBEDDINGS) + "*", "all items' vectors"),
    (keys.MODEL_CURRENT, keys.MODEL_CURRENT, "the version of the model that is live"),
    (keys.MODEL_METADATA, keys.model_metadata("*"), "its shape, parameters and metrics, as JSON"),
)
MOST_SHOWN: Final = 84
METRICS = (("recall@20", "of what was held out, found among 20"), ("ndcg@20", "the same, and how high up"))


def print_quality(console: Console, trained: dict[str, Any]) -> None:
    """Held-out metrics of the trained model beside those of plain popularity."""
    if not set(trained["metrics"]) >= {name for name, _ in METRICS}:
        console.print("No plays were held out to judge it by: there are too few.\n")
        return
    table = Table(box=box.SIMPLE_HEAD, title="On plays that it had not seen", title_justify="left", title_style="bold")
    for heading, justify in (("", "left"), ("timbral", "right"), ("popularity", "right"), ("", "right"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # three of Rich's words
    for name, meaning in METRICS:
        ours, theirs = trained["metrics"][name], trained["baseline"][name]
        factor = f"×{ours / theirs:.1f}" if theirs else ""
        shown = name.replace("ndcg", "NDCG")
        table.add_row(shown, f"[bold green]{ours:.3f}[/]", f"{theirs:.3f}", factor, f"[dim]{meaning}[/]")
    console.print(table)


def print_users(
    console: Console, client: redis.Redis, data: DemoData, plays: Interactions, n_users: int, random_state: int
) -> int | str:
    """For a few users, side by side: what they play most, and what stands in Redis for them; gives the last one's
    id."""
    rows = np.diff(plays.matrix.indptr)
    typical = np.flatnonzero((rows >= np.quantile(rows, 0.5)) & (rows <= max(np.quantile(rows, 0.9), rows.min())))
    chosen = np.random.default_rng(random_state).choice(typical, size=min(n_users, len(typical)), replace=False)
    user_ids = plays.user_ids.ids(chosen)
    for user_id, code in zip(user_ids, chosen, strict=True):
        stored = client.get(keys.recommendations_user(user_id))
        recommended = _parsed(stored)
        console.print(_user(data, plays, user_id, int(code), recommended))
    return user_ids[-1]


def _parsed(stored: Any) -> list[dict[str, Any]]:
    return json.loads(stored) if stored else []


def _user(
    data: DemoData, plays: Interactions, user_id: int | str, code: int, recommended: list[dict[str, Any]]
) -> Panel:
    row = slice(plays.matrix.indptr[code], plays.matrix.indptr[code + 1])
    most = np.argsort(-plays.matrix.data[row], kind="stable")[:5]
    item_ids = plays.item_ids.ids(plays.matrix.indices[row][most])
    counts = plays.matrix.data[row][most]
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("plays most", ratio=1, no_wrap=True, overflow="ellipsis", header_style="dim")
    table.add_column("", justify="right", style="dim")
    table.add_column("gets recommended", ratio=1, no_wrap=True, overflow="ellipsis", header_style="dim")
    table.add_column("score", justify="right", style="dim", header_style="dim")
    for place in range(max(len(item_ids), min(5, len(recommended)))):
        cells: list[Text | str] = ["", "", "", ""]
        if place < len(item_ids):
            cells[:2] = _name(data, item_ids[place]), f"{counts[place]:,.0f}  "
        if place < len(recommended):
            cells[2:] = _name(data, recommended[place]["item_id"]), f"{recommended[place]['score']:.2f}"
        table.add_row(*cells)
    return Panel(Group(table), title=f"user {user_id}", title_align="left", border_style="cyan", width=92)


def _name(data: DemoData, item_id: int | str) -> Text:
    # Text, not markup: a name may hold square brackets.
    name, _, genre = data.name(item_id).partition(" · ")
    text = Text(name)
    if genre:
        text.append(f"  {genre}", style="dim italic")
    return text


def print_keys(console: Console, client: redis.Redis, user_id: int | str) -> None:
    """The keys that an app reads, with their counts and lives, and how it reads one."""
    table = Table(box=box.SIMPLE_HEAD, title="What an app finds in Redis", title_justify="left", title_style="bold")
    table.add_column("keys", justify="right")
    for heading in ("key", "holds", "lives"):
        table.add_column(heading)
    for name, pattern, holds in READ_BY_APPS:
        found = list(client.scan_iter(pattern, count=1000))
        if found:
            seconds = int(client.ttl(found[0]))
            life = f"{seconds / 3600:.0f} hours" if seconds > 0 else "for good"
            table.add_row(f"{len(found):,}", Text(name), Text(holds, style="dim"), life)
    console.print(table)
    key_name = keys.recommendations_user(user_id)
    stored = client.get(key_name)
    text = stored.decode() if isinstance(stored, bytes) else str(stored)
    text, listed = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…", _parsed(stored)
    console.print("How to read one, in any language and in Python", style="bold")
    for line in (
        f"  redis-cli> GET {key_name}",
        f"  {text}",
        "  >>> import producers",
        f"  >>> producers.get_recommendations({user_id!r}){'[0]' if listed else ''}",
        f"  {listed[0] if listed else listed}",
    ):
        console.print(Text(line, style="" if ">" in line[:14] else "dim"), soft_wrap=True)
