"""``timbral plays``: record plays, and move the history of them in and out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import producers
from producers.connections import connections
from timbral.cli.data_options import PANEL as DATA_PANEL
from timbral.cli.data_options import DataOptions, with_data_options
from timbral.cli.output import AsJson, TextIds, hint, print_answer, print_json
from timbral.cli.tasks import parsed_play
from timbral.config.settings import settings
from timbral.errors import ParameterError, RedisUnavailableError, TimbralError
from timbral.extras import require
from timbral.plays.imports import ImportNotes
from timbral.plays.state import read_plays_state

__all__ = ["register"]

PANEL = "Plays"
PER_CALL = 1_000
SHOWN_DAYS = 14


@dataclass(frozen=True)
class ImportedDataOptions(DataOptions):
    """Of plays, which have a time in any case."""

    time_col: Annotated[
        str | None,
        typer.Option(
            help="Column of the time of a row; told by its name if not given, now if there is none.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None


def register(application: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Record plays, and move the history of them in and out.")
    for command in (record, import_, export, stats):
        group.command(command.__name__.rstrip("_"))(command)
    application.add_typer(group, name="plays", rich_help_panel=PANEL)


def record(
    play: Annotated[
        list[str] | None,
        typer.Argument(help="USER,ITEM or USER,ITEM,PLAYS or a JSON object; one a line from stdin where none."),
    ] = None,
    text_ids: TextIds = False,
    as_json: AsJson = False,
) -> None:
    """Record plays: the users' lists follow within milliseconds, and the next training learns from them.

    $ timbral plays record 1042,77 1042,78,3

    $ timbral plays record '{"user_id": 1042, "item_id": 77, "at": "2026-11-25T20:15:00Z", "event_id": "c0ffee"}'

    $ timbral plays record < plays.jsonl
    """
    lines = play or [line.strip() for line in sys.stdin if line.strip()]
    plays = [parsed_play(text, as_text=text_ids, what="a play") for text in lines]
    if not plays:
        raise ParameterError("no play was given, neither as an argument nor on stdin")
    recorded = sum(producers.record_plays(plays[start : start + PER_CALL]) for start in range(0, len(plays), PER_CALL))
    answer = {"recorded": recorded, "duplicates": len(plays) - recorded}
    print_json(answer) if as_json else print_answer(answer)


@with_data_options
def import_(
    *,
    file: Annotated[Path, typer.Argument(help="A file or folder of plays, in any form that a training reads.")],
    data: ImportedDataOptions,
    played_now: Annotated[
        bool,
        typer.Option("--played-now", help="Read no times: the rows were played now.", rich_help_panel=DATA_PANEL),
    ] = False,
    as_json: AsJson = False,
) -> None:
    r"""Import a file into the history (HISTORY_URI), from this machine. The same file, imported again, adds nothing.

    $ timbral plays import plays.parquet --time-col at

    $ timbral plays import lastfm.dat --user-col userID --item-col artistID --value-col weight
    """
    require("timbral plays import", "worker", "history")
    from timbral.data.dataset_file import DatasetFile
    from timbral.data.read_options import ReadOptions
    from timbral.history.location import open_history
    from timbral.history.noted_import import import_noted

    notes = ImportNotes(lambda: connections().asking(), str(file), file.stat().st_size if file.is_file() else 0)
    given = data.arguments()
    names = given.pop("columns")
    options = ReadOptions(**given, columns=None if names is None else tuple(names))
    with suppress(TimbralError):  # an import needs no Redis; the console shows it where there is one
        notes.begin()
    with _bar(file.name) as (bar, line):
        imported = import_noted(
            open_history(),
            DatasetFile.of(file),
            options,
            notes,
            played_now=played_now,
            on_rows=lambda what, n_rows: bar.update(line, completed=n_rows, description=f"{file.name}: {what}"),
        )
    hint(f"timbral: {file} was read as {', '.join(imported.told)}")
    if imported.was_there:
        hint(f"timbral: {file} was imported before; nothing was added")
    answer = {
        "rows": imported.rows,
        "left_out": imported.left_out,
        "unread": imported.unread,
        "digest": imported.digest,
        "history": settings.history_uri,
    }
    print_json(answer) if as_json else print_answer(answer)


def export(
    file: Annotated[Path, typer.Argument(help="Where to; csv, parquet or json (one object a line) by its ending.")],
    format: Annotated[str | None, typer.Option(help="csv, parquet or json.")] = None,  # noqa: A002 - the option's name
    as_json: AsJson = False,
) -> None:
    """Write the whole history to one file: user_id, item_id, plays, at.

    $ timbral plays export plays.parquet
    """
    require("timbral plays export", "worker", "history")
    from timbral.data.dataset_format import written_format
    from timbral.history.exporting import export_plays
    from timbral.history.location import open_history

    with _bar(file.name) as (bar, line):
        n_rows = export_plays(
            open_history(), file, written_format(file.name, format), on_rows=lambda n: bar.update(line, completed=n)
        )
    answer = {"rows": n_rows, "file": str(file)}
    print_json(answer) if as_json else print_answer(answer)


def stats(as_json: AsJson = False) -> None:
    """What is in the history: rows, plays, users, items, days; and what waits to get into it.

    $ timbral plays stats --json
    """
    require("timbral plays stats", "worker", "history")
    from timbral.history.exporting import summary
    from timbral.history.location import open_history

    history = open_history()
    known, found = history.stats(), summary(history)
    answer: dict[str, Any] = {
        "history": history.uri,
        "rows": found.rows,
        "plays": found.plays,
        "users": found.users,
        "items": found.items,
        "days": len(found.per_day),
        "first": min(found.per_day, default=None),
        "last": max(found.per_day, default=None),
        "files": known.files,
        "bytes": known.bytes,
        "version": known.version,
        "waiting": _waiting(),
    }
    if as_json:
        print_json(answer | {"per_day": found.per_day})
        return
    shown = list(found.per_day.items())[-SHOWN_DAYS:]
    print_answer(answer | {"per_day": "  ".join(f"{day} {n:,}" for day, n in shown) or None})


def _waiting() -> int | None:
    """Plays that are recorded and not in the history yet; None while Redis is away."""
    try:
        with connections().asking() as client:
            return read_plays_state(client).waiting
    except RedisUnavailableError:
        return None


@contextmanager
def _bar(what: str) -> Iterator[tuple[Progress, Any]]:
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=None)
