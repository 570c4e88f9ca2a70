"""``timbral doctor``: what is wrong here, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from timbral.cli.output import AsJson, print_json
from timbral.config.settings import read_settings
from timbral.stack.doctor import Check, examine

__all__ = ["register"]

PROBLEM: Final = 1
_MARKS: Final = {"ok": ("✓", "green"), "note": ("·", "yellow"), "problem": ("✗", "red")}


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command(rich_help_panel="Operate")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Look at Python, Redis, disk, memory, ports, clocks, the workers and the model, and say what to do.

    Exit code 0 where nothing has to be done, 1 where something has.

    $ timbral doctor

    $ timbral doctor --json
    """
    checks = examine(read_settings())
    problems = [check for check in checks if check.state == "problem"]
    if as_json:
        print_json({"status": "problem" if problems else "ok", "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    if problems:
        raise typer.Exit(PROBLEM)


def _print(checks: list[Check]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(check.what) for check in checks)
    for check in checks:
        mark, colour = _MARKS[check.state]
        console.print(Text.assemble((mark, colour), f" {check.what:<{width}}  {check.said}"))
        if check.do:
            console.print(Text(f"  {'':<{width}}  → {check.do}", style="bold" if check.state == "problem" else ""))
    n_problems = sum(check.state == "problem" for check in checks)
    said = "Nothing has to be done." if not n_problems else f"{n_problems} to do, marked ✗."
    console.print(f"\n{said}")
