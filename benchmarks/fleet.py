"""The fleet, measured: ``python -m benchmarks.fleet [--quick] [name …]``.

Prints the table and writes benchmarks/results/fleet.json. Real worker processes, a real server with an append-only
file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from benchmarks import fleet_backlog, fleet_rows, plays_rows, report
from benchmarks.measure import machine
from benchmarks.results import RESULTS, Options, Result, Row, as_json

Measurement = Callable[[bool], tuple[list[Row], dict[str, Any]]]

MEASUREMENTS: dict[str, Measurement] = {
    "throughput": fleet_rows.throughput,
    "latency": fleet_rows.latency,
    "backlog": fleet_backlog.backlog,
    "overhead": fleet_rows.overhead,
    "start": fleet_rows.start,
    "memory": fleet_rows.memory,
    "recording": plays_rows.recording,
    "plays": plays_rows.latency,
    "sustained": plays_rows.sustained,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small data, to see that it runs; its numbers are no claim"
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"which: {', '.join(MEASUREMENTS)}; all where none is given"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    where = machine()
    results = []
    for name in arguments.names or MEASUREMENTS:
        rows, numbers = MEASUREMENTS[name](arguments.quick)
        results.append(Result(name, rows, numbers))
        for row in rows:
            print(f"{row.what}: {row.ours} ({row.verdict})", flush=True)
    report.show(results)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / ("fleet-quick.json" if arguments.quick else "fleet.json")
    path.write_text(json.dumps(as_json(results, where, Options(quick=arguments.quick)), indent=1))
    print(f"Load before the run: {where['load_before']}. Raw numbers: {path.name}")


if __name__ == "__main__":
    main()
