"""The table on the terminal, the JSON file, the curves, and the results section of the README."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import curves
from benchmarks.results import RESULTS, Options, Result, Row, as_json

README = Path(__file__).parent / "README.md"
START, STOP = "<!-- results: written by the run -->", "<!-- end of results -->"
STYLES = {"aim": "green", "must": "yellow", "short": "red"}


def show(results: list[Result]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    table = Table(title="timbral, side by side")
    for name in ("what", "figure", "must", "aim", "reached", "ours", "peer"):
        table.add_column(name, overflow="fold")
    for result in results:
        for row in result.rows:
            cells = (row.what, _figure(row, row.figure), _bound(row, row.must), _bound(row, row.aim))
            table.add_row(*cells, f"[{STYLES[row.verdict]}]{row.verdict}[/]", row.ours, row.peer)
        table.add_section()
    if table.row_count:
        console.print(table)
    for line in _notes(results):
        console.print(f"[dim]{line}[/]")


def _notes(results: list[Result]) -> list[str]:
    notes = [f"- {row.what}: {row.note}." for result in results for row in result.rows if row.note]
    return notes + [f"- {result.name} was left out: {result.skipped}." for result in results if result.skipped]


def save(results: list[Result], machine: dict[str, Any], options: Options, *, whole: bool) -> Path:
    """Write the JSON; after a whole run that was not a quick one, the curves and the README's results too."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / ("quick.json" if options.quick else "latest.json" if whole else "part.json")
    text = json.dumps(as_json(results, machine, options), indent=1, default=float)  # numpy's numbers too
    path.write_text(text)
    if whole and not options.quick:
        curves.draw(json.loads(text))
        readme = README.read_text()
        section = f"{START}\n{_markdown(results, machine)}\n{STOP}"
        README.write_text(re.sub(f"{START}.*?{STOP}", lambda _: section, readme, flags=re.DOTALL))
    return path


def _markdown(results: list[Result], machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Python {machine['python']}, "
        f"{versions}. "
        f"Load before the run: {machine['load_before']}.",
        "",
        "| what | figure | must | aim | reached | ours | peer |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for row in result.rows:
            cells = (row.what, _figure(row, row.figure), _bound(row, row.must), _bound(row, row.aim))
            lines.append("| " + " | ".join((*cells, row.verdict, row.ours, row.peer)) + " |")
    return "\n".join([*lines, "", *_notes(results)])


def _figure(row: Row, value: float) -> str:
    return f"{value:.3f}" if not row.unit else f"{value:.2f} {row.unit}".replace(" ×", "×")


def _bound(row: Row, value: float) -> str:
    sign = "≤" if row.less_is_better else "≥"
    return f"{sign} {value:g} {row.unit}".strip().replace(" ×", "×")
