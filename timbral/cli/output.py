"""What the commands print: results on stdout, for people or as JSON; progress and hints on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

__all__ = [
    "AsJson",
    "TextIds",
    "Wait",
    "ago",
    "hint",
    "parsed_id",
    "print_answer",
    "print_json",
    "print_table",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
TextIds = Annotated[bool, typer.Option("--text-ids", help="Ids are text, even where they look like numbers.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer, or print the job's id at once.")]

_NO_LIMIT, _GAP = 100_000, 2
_INT = re.compile(r"-?(0|[1-9][0-9]{0,18})")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    typer.echo(json.dumps(value, ensure_ascii=not is_utf8, indent=2))


def print_table(
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    title: str | None = None,
    whole: Collection[str] = (),
) -> None:
    """A table on stdout; numbers to the right. The columns that ``whole`` names are never broken into lines; where it
    is read by a program, none is, and in a narrow terminal none is left out."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    listed = [list(row) for row in rows]
    for place, column in enumerate(columns):
        numbers = bool(listed) and all(isinstance(row[place], int | float) for row in listed)
        least = max(len(word) for word in [column, *(_shown(row[place]) for row in listed if column in whole)])
        table.add_column(
            column,
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=column in whole,
            min_width=least,
        )
    for row in listed:
        table.add_row(*(_shown(value) for value in row))
    console = Console(highlight=False, markup=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        console.width = max(console.width, sum((column.min_width or 0) + _GAP for column in table.columns))
    else:
        console.width = console.measure(table, options=console.options.update(max_width=_NO_LIMIT)).maximum
    console.print(table)


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
    is_int = not as_text and _INT.fullmatch(text) and -(2**63) <= int(text) < 2**63
    return int(text) if is_int else text


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
