"""What the commands print: results on stdout, for people or as JSON; progress and hints on stderr."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import producers

__all__ = [
    "AsJson",
    "TextIds",
    "Wait",
    "ago",
    "follow",
    "hint",
    "parsed_id",
    "print_answer",
    "print_json",
    "print_table",
    "sent",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
TextIds = Annotated[bool, typer.Option("--text-ids", help="Ids are text, even where they look like numbers.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer, or print the job's id at once.")]

_INT = re.compile(r"-?(0|[1-9][0-9]{0,18})")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    title: str | None = None,
    whole: Collection[str] = (),
) -> None:
    """A table on stdout; numbers to the right. The columns that ``whole`` names are never broken into lines."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    listed = [list(row) for row in rows]
    for place, column in enumerate(columns):
        numbers = bool(listed) and all(isinstance(row[place], int | float) for row in listed)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=column in whole)
    for row in listed:
        table.add_row(*(_shown(value) for value in row))
    Console(highlight=False, markup=False).print(table)


def print_answer(answer: Mapping[str, Any]) -> None:
    """A task's answer on stdout, one field a line."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    width = max((len(name) for name in answer), default=0)
    for name, value in answer.items():
        shown = "  ".join(f"{k} {_shown(v)}" for k, v in value.items()) if isinstance(value, Mapping) else _shown(value)
        console.print(f"{name.ljust(width)}  {shown}")


def hint(text: str) -> None:
    """A line for a person, on stderr."""
    typer.echo(text, err=True)


def ago(age_s: float) -> str:
    """A time that has passed, short: ``40 s``, ``3 h``."""
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if age_s >= unit_s:
            return f"{age_s / unit_s:.0f} {unit}"
    return f"{age_s:.0f} s"


def parsed_id(text: str, *, as_text: bool) -> int | str:
    """An id from the command line: an int where it looks like one, unless ``as_text``."""
    return text if as_text or not _INT.fullmatch(text) else int(text)


def sent(
    job: producers.Job,
    *,
    wait: bool,
    as_json: bool,
    show_answer: Callable[[dict[str, Any]], None] = print_answer,
) -> None:
    """What a command does that has sent a task: follow it to its answer, or say its id."""
    if wait:
        follow(job, as_json=as_json, show_answer=show_answer)
    elif as_json:
        print_json({"job_id": job.id, "task": job.task, "state": "PENDING"})
    else:
        typer.echo(job.id)
        hint(f"Sent {job.task}. To see how it is: timbral job status {job.id}")


def follow(
    job: producers.Job,
    *,
    as_json: bool,
    timeout_s: float | None = None,
    show_answer: Callable[[dict[str, Any]], None] = print_answer,
) -> None:
    """Wait for a job with a progress bar, and print its answer, for people as ``show_answer`` does.

    Raises:
        TimbralError: the job failed; its own error.
        typer.Exit: Ctrl-C; the job goes on.
    """
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    try:
        with bar:
            line = bar.add_task(job.task or "job", total=None, text="waiting for a worker")

            def show(state: str, progress: producers.Progress) -> None:
                words = progress.text or ("waiting for a worker" if state == "PENDING" else state.lower())
                bar.update(line, total=progress.total or None, completed=progress.done, text=words)

            answer = job.wait(timeout_s, on_progress=show)
    except KeyboardInterrupt:
        hint(f"Not waiting any longer; the job goes on. timbral job wait {job.id} | timbral job cancel {job.id}")
        raise typer.Exit(130) from None
    if as_json:
        print_json({"job_id": job.id, **answer})
    else:
        show_answer({"job_id": job.id, **answer})


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
