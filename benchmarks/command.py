"""One command line for all benchmarks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from benchmarks import report
from benchmarks.results import Options, Result


def parse_options(arguments: list[str] | None = None, *, names: list[str] | None = None) -> tuple[Options, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, to see that it runs")
    parser.add_argument("--lastfm", default=os.environ.get("LASTFM"), help="folder of Last.fm 2K (or $LASTFM)")
    if names:
        parser.add_argument("names", nargs="*", help=f"which: {', '.join(names)}")
    parsed = parser.parse_args(arguments)
    return Options(quick=parsed.quick, lastfm=parsed.lastfm), list(getattr(parsed, "names", []) or [])


def main(run: Callable[[Options], Result]) -> None:
    """The command line of one benchmark."""
    options, _ = parse_options()
    report.show([run(options)])
