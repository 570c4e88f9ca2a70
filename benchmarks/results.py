"""What a benchmark gives: rows of the table, raw numbers, and whether each figure is good enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Options:
    quick: bool = False
    """Smaller data, fewer repeats: shows that it runs, its numbers are no claim."""
    lastfm: str | None = None
    """Folder of Last.fm 2K (HetRec 2011); its rows are left out without it."""


@dataclass
class Row:
    """One line of the table. ``figure`` is what ``must`` and ``aim`` speak of; for a ratio, above 1 is in our
    favour."""

    what: str
    figure: float
    unit: str
    must: float
    aim: float
    ours: str
    peer: str
    note: str = ""
    less_is_better: bool = False

    @property
    def verdict(self) -> str:
        for bound, word in ((self.aim, "aim"), (self.must, "must")):
            if (self.figure <= bound) if self.less_is_better else (self.figure >= bound):
                return word
        return "short"


@dataclass
class Result:
    name: str
    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    """Raw numbers and the points of the curves; plain values."""
    skipped: str = ""


def as_json(results: list[Result], machine: dict[str, Any], options: Options) -> dict[str, Any]:
    return {
        "machine": machine,
        "quick": options.quick,
        "results": [
            asdict(result) | {"rows": [asdict(row) | {"verdict": row.verdict} for row in result.rows]}
            for result in results
        ],
    }
