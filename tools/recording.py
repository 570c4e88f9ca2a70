"""The terminal recording in the README: ``python -m tools.recording [--to FILE]`` runs ``timbral demo`` in a terminal of its
own, and draws what it shows as an SVG that moves by itself.

A terminal emulator (pyte) keeps the screen; each line that was ever there is drawn once, frames are lists of lines, and
one CSS animation steps through them. Nothing of this machine is in it but what the demo prints.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from html import escape
from pathlib import Path

import pyte

COLUMNS, LINES = 100, 34
LEAST_FRAME_S = 0.4
LONGEST_FRAME_S = 1.2
"""What takes longer than this is shown as if it had not: nobody watches a pause."""
SHOWN_S = 16.0
"""All but the last screen, whatever the machine took for it."""
LAST_FRAME_S = 4.0
MAX_BYTES = 150_000
CELL_W, CELL_H = 7.2, 15.0
COLOURS = {
    "default": "#e8e0e3", "black": "#5a5055", "red": "#f2777a", "green": "#99cc99", "brown": "#ffcc66", "blue": "#6699cc",
    "magenta": "#e18db1", "cyan": "#6cc5bf", "white": "#e8e0e3",
}  # fmt: skip
TO = Path(__file__).resolve().parents[1] / "docs/images/demo.svg"

Line = tuple[tuple[str, str, bool], ...]
Frame = tuple[float, tuple[Line, ...]]


def record(command: list[str]) -> list[Frame]:
    """The screens that the command showed, each with how long it was there, in seconds."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLORTERM": "",
        "COLUMNS": str(COLUMNS),
        "LINES": str(LINES),
    }
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    frames: list[Frame] = []
    shown, since = lines_of(screen), time.monotonic()
    while True:
        ready, _, _ = select.select([ours], [], [], LEAST_FRAME_S)
        try:
            data = os.read(ours, 65_536) if ready else b""
        except OSError:  # Linux says so when the other end is closed
            break
        if ready and not data:
            break
        stream.feed(data)
        now = time.monotonic()
        if now - since >= LEAST_FRAME_S and (there := lines_of(screen)) != shown:
            frames.append((min(now - since, LONGEST_FRAME_S), shown))
            shown, since = there, now
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    frames.append((LEAST_FRAME_S, shown))
    pace = min(1.0, SHOWN_S / sum(seconds for seconds, _ in frames))
    return [*((seconds * pace, lines) for seconds, lines in frames), (LAST_FRAME_S, lines_of(screen))]


def lines_of(screen: pyte.Screen) -> tuple[Line, ...]:
    """The screen's lines as runs of (text, colour, is bold)."""
    found = []
    for y in range(screen.lines):
        runs: list[tuple[str, str, bool]] = []
        row = screen.buffer[y]
        for x in range(screen.columns):
            cell = row[x]
            style = cell.fg if cell.fg in COLOURS else f"#{cell.fg}", cell.bold
            if runs and runs[-1][1:] == style:
                runs[-1] = (runs[-1][0] + cell.data, *style)
            else:
                runs.append((cell.data, *style))
        while runs and not runs[-1][0].strip():
            runs.pop()
        found.append(tuple(runs))
    return tuple(found)


def draw(frames: list[Frame]) -> str:
    """The SVG."""
    known: dict[Line, int] = {}
    strips = []
    width, height = COLUMNS * CELL_W + 24, LINES * CELL_H + 24
    for place, (_, lines) in enumerate(frames):
        uses = []
        for y, line in enumerate(lines):
            if line:
                number = known.setdefault(line, len(known))
                uses.append(f'<use href="#l{number}" y="{y * CELL_H:g}"/>')
        strips.append(f'<svg y="{place * height:g}" width="{width:g}" height="{height:g}">{"".join(uses)}</svg>')
    total = sum(seconds for seconds, _ in frames)
    steps, at = [], 0.0
    for place, (seconds, _) in enumerate(frames):
        steps.append(f"{100 * at / total:.2f}%{{transform:translateY({-place * height:g}px)}}")
        at += seconds
    drawn = "".join(f'<g id="l{number}">{_text(line)}</g>' for line, number in known.items())
    style = (
        f"@keyframes p{{{''.join(steps)}}}.p{{animation:p {total:.1f}s steps(1,end) infinite}}"
        "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f"@media (prefers-reduced-motion:reduce){{.p{{animation:none;transform:translateY({-(len(frames) - 1) * height:g}px)}}}}"
    )
    title = "timbral demo in a terminal: it trains, recommends, and shows users with their lists"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{title}"><style>{style}</style><rect width="100%" height="100%" rx="10" fill="#171315"/>'
        f'<defs>{drawn}</defs><svg width="{width:g}" height="{height:g}"><g class="p">{"".join(strips)}</g></svg></svg>\n'
    )


def _text(line: Line) -> str:
    parts, x = [], 0
    for text, colour, is_bold in line:
        if text.strip():
            start = len(text) - len(text.lstrip())
            kept = text.strip()
            weight = ' font-weight="700"' if is_bold else ""
            # Its length is said, so that the columns stand under each other whatever the font.
            length = f' textLength="{len(kept) * CELL_W:.0f}"' if len(kept) > 1 else ""
            parts.append(
                f'<text x="{12 + (x + start) * CELL_W:.1f}" y="24" fill="{COLOURS.get(colour, colour)}"{weight}{length}>'
                f"{escape(kept)}</text>"
            )
        x += len(text)
    return "".join(parts)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=TO)
    options = parser.parse_args()
    made = draw(record([sys.executable, "-m", "timbral.cli", "demo", "--users", "2"]))
    if len(made.encode()) > MAX_BYTES:
        print(f"{len(made.encode()):,} bytes are more than {MAX_BYTES:,}", file=sys.stderr)
        return 1
    options.to.write_text(made, encoding="utf-8")
    print(f"{options.to} ({len(made.encode()) // 1000} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
