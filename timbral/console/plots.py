"""Plots as SVG text, for the console and for reports alike: no script, no inline style, and the numbers are in a table.

A point tells its value in a ``<title>``, which browsers show where the pointer rests and screen readers read. Colours
come from the page's stylesheet (``.plot``), so that light and dark are the page's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from markupsafe import Markup

__all__ = ["Series", "bar_plot", "line_plot", "scatter_plot", "share_plot", "standalone"]

WIDTH: Final = 460.0
HEIGHT: Final = 240.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 12.0, 40.0
N_TICKS: Final = 5
MAX_MARKS: Final = 60
"""A line with more points has no mark on each."""
STYLE: Final = (
    ".plot{background:#fff;font:11px system-ui,sans-serif}.plot text{fill:#65595e}.plot .grid{stroke:#e6dfdb}"
    ".plot .axis{stroke:#65595e}.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".plot .line.s0{stroke:#8f3a60}.plot .line.s1{stroke:#1f6f6b}.plot .line.s2{stroke:#65595e;stroke-dasharray:5 4}"
    ".plot .mark.s0,.plot .bar-of.s0{fill:#8f3a60}.plot .mark.s1,.plot .bar-of.s1{fill:#1f6f6b}"
    ".plot .mark.s2,.plot .bar-of.s2{fill:#65595e}"
)


@dataclass(frozen=True)
class Series:
    """One line: its name and its points ``(x, y)``; ``labels`` says what a point is, its x where there are none;
    ``drawn_as`` a line with a mark at each point, or one of both."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()
    drawn_as: Literal["both", "line", "marks"] = "both"


def line_plot(title: str, series: Sequence[Series], *, x_label: str, y_label: str = "") -> Markup:
    """Lines over one pair of axes; points that are no finite numbers are left out."""
    kept = [(number, one, _finite(one)) for number, one in enumerate(series)]
    everything = [point for _, _, points in kept for _, point in points]
    if not everything:
        return _empty(title)
    across = _Scale([x for x, _ in everything], LEFT, WIDTH - RIGHT, padded=False)
    up = _Scale([y for _, y in everything], HEIGHT - BOTTOM, TOP + (18.0 if len(series) > 1 else 0.0))
    parts = [_axes(across, up, x_label, y_label)]
    for number, one, points in kept:
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for _, (x, y) in points)
        if one.drawn_as != "marks":
            parts.append(f'<polyline class="line s{number}" points="{path}"/>')
        if one.drawn_as == "marks" or (one.drawn_as == "both" and len(points) <= MAX_MARKS):
            for place, (x, y) in points:
                label = one.labels[place] if place < len(one.labels) else _number(x)
                parts.append(_mark(across(x), up(y), 3.2, number, f"{one.name}, {label}: {_number(y)}"))
    if len(series) > 1:
        parts.append(_legend([one.name for one in series]))
    return _svg(title, parts)


def bar_plot(title: str, bars: Sequence[tuple[str, float]], *, x_label: str = "", y_label: str = "") -> Markup:
    """A bar for each label, from 0."""
    bars = [(label, value) for label, value in bars if math.isfinite(value)]
    if not bars:
        return _empty(title)
    up = _Scale([0.0, *(value for _, value in bars)], HEIGHT - BOTTOM, TOP)
    step = (WIDTH - RIGHT - LEFT) / len(bars)
    parts = [_axes(None, up, x_label, y_label)]
    every = max(1, math.ceil(len(bars) / 6))
    for place, (label, value) in enumerate(bars):
        x, top = LEFT + place * step, up(value)
        text = escape(f"{label}: {_number(value)}")
        parts.append(
            f'<rect class="bar-of s0" x="{x + step * 0.1:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" '
            f'height="{max(0.0, HEIGHT - BOTTOM - top):.1f}"><title>{text}</title></rect>'
        )
        if place % every == 0:
            parts.append(_text(x + step / 2, HEIGHT - BOTTOM + 15, label, "middle"))
    return _svg(title, parts)


def share_plot(title: str, bars: Sequence[tuple[str, float]]) -> Markup:
    """A bar to the right for each label with its share, from 0 to the largest; the labels stand before them."""
    bars = [(label, value) for label, value in bars if math.isfinite(value)]
    if not bars:
        return _empty(title)
    row, left = 22.0, 10.0 + 6.2 * max(len(label) for label, _ in bars)
    most = max(value for _, value in bars) or 1.0
    parts = []
    for place, (label, value) in enumerate(bars):
        y, width = TOP + place * row, (WIDTH - left - 60.0) * max(0.0, value) / most
        parts.append(_text(left - 8, y + 13, label, "end"))
        parts.append(
            f'<rect class="bar-of s0" x="{left:.1f}" y="{y + 3:.1f}" width="{width:.1f}" height="{row - 8:.0f}">'
            f"<title>{escape(label)}: {value:.1%}</title></rect>"
        )
        parts.append(_text(left + width + 6, y + 13, f"{value:.0%}", "start"))
    return _svg(title, parts, TOP + row * len(bars))


def scatter_plot(
    title: str, points: Sequence[tuple[float, float, str]], *, x_label: str, y_label: str, log_x: bool = False
) -> Markup:
    """A mark for each ``(x, y, what it is)``; ``log_x`` for x from 1 on."""
    points = [(x, y, what) for x, y, what in points if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x)]
    if not points:
        return _empty(title)
    moved: Callable[[float], float] = math.log10 if log_x else float
    across = _Scale([moved(x) for x, _, _ in points], LEFT, WIDTH - RIGHT, logarithm=log_x)
    up = _Scale([y for _, y, _ in points], HEIGHT - BOTTOM, TOP)
    parts = [_axes(across, up, x_label, y_label)]
    parts += [_mark(across(moved(x)), up(y), 2.6, 0, what) for x, y, what in points]
    return _svg(title, parts)


class _Scale:
    """From values to the drawing's units, with round ticks."""

    def __init__(
        self, values: Sequence[float], start: float, end: float, *, padded: bool = True, logarithm: bool = False
    ) -> None:
        low, high = min(values), max(values)
        if low == high:
            low, high = (low - 0.5, high + 0.5) if low == 0 else (low - abs(low) * 0.1, high + abs(high) * 0.1)
        is_whole = all(float(value).is_integer() for value in values)
        step = max(1.0, math.ceil((high - low) / N_TICKS)) if logarithm else _round_step((high - low) / (N_TICKS - 1))
        step = max(1.0, step) if is_whole else step
        if padded:
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        first = math.ceil(low / step - 1e-9)
        self.ticks = [n * step for n in range(first, first + 3 * N_TICKS) if n * step <= high + step * 1e-6]
        self.logarithm = logarithm
        self._low, self._share = low, (end - start) / (high - low)
        self._start = start

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._share

    def text(self, tick: float) -> str:
        return _number(10**tick) if self.logarithm else _number(tick)


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= step * 0.999)


def _axes(across: _Scale | None, up: _Scale, x_label: str, y_label: str) -> str:
    parts = []
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, up.text(tick), "end"))
    if across is not None:
        parts += [_text(across(tick), HEIGHT - BOTTOM + 15, across.text(tick), "middle") for tick in across.ticks]
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    if x_label:
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    if y_label:
        y = (TOP + HEIGHT - BOTTOM) / 2
        turned = f'transform="rotate(-90 11 {y:.1f})"'
        parts.append(f'<text x="11" y="{y:.1f}" text-anchor="middle" {turned}>{escape(y_label)}</text>')
    return "".join(parts)


def _mark(x: float, y: float, radius: float, number: int, what: str) -> str:
    return (
        f'<circle class="mark s{number}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(what)}</title></circle>'
    )


def _legend(names: Sequence[str]) -> str:
    parts, x = [], LEFT + 4
    for number, name in enumerate(names):
        parts.append(f'<rect class="bar-of s{number}" x="{x:.1f}" y="{TOP - 9}" width="9" height="9"/>')
        parts.append(_text(x + 13, TOP, name, "start"))
        x += 36 + 8.6 * len(name)
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def standalone(plot: str) -> str:
    """A plot as an SVG file of its own, in the console's light colours: for notebooks and documents."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:g}" '
    return str(plot).replace("<svg ", head, 1).replace(">", f"><style>{STYLE}</style>", 1)


def _svg(title: str, parts: Sequence[str], height: float = HEIGHT) -> Markup:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title, quote=True)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - every text in it went through escape


def _empty(title: str) -> Markup:
    return Markup('<p class="quiet">{}: nothing to draw yet.</p>').format(title)


def _finite(series: Series) -> list[tuple[int, tuple[float, float]]]:
    return [(n, (x, y)) for n, (x, y) in enumerate(series.points) if math.isfinite(x) and math.isfinite(y)]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.4g} k"
    return f"{value:.4g}" if abs(value) >= 1e-4 else f"{value:.1e}"
