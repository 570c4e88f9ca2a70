"""The picture in docs/architecture.md: the way of the data, from a play to a list. ``python -m
tools.architecture_picture``."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "architecture.svg"
WIDTH, HEIGHT = 960, 430
STYLE = """
svg { font: 13px system-ui, sans-serif; --ink: #1f2328; --soft: #59636e; --line: #8c959f; --box: #f6f8fa; --redis: #ffebe9; --fleet: #ddf4ff; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #f0f6fc; --soft: #9198a1; --line: #6e7681; --box: #151b23; --redis: #3c1618; --fleet: #0c2d4d; }
}
rect { stroke: var(--line); rx: 6; fill: var(--box); } rect.redis { fill: var(--redis); } rect.fleet { fill: var(--fleet); }
.name { font-weight: 600; fill: var(--ink); } .where { fill: var(--soft); font-size: 11.5px; } .way { fill: var(--soft); font-size: 12px; }
path { stroke: var(--line); stroke-width: 1.5; fill: none; marker-end: url(#tip); } #tip path { fill: var(--line); marker-end: none; }
"""


@dataclass(frozen=True)
class Box:
    x: int
    y: int
    name: str
    lines: tuple[str, ...]
    kind: str = ""
    width: int = 190

    @property
    def height(self) -> int:
        return 32 + 16 * len(self.lines)

    def svg(self) -> str:
        texts = [f'<text class="name" x="{self.x + 12}" y="{self.y + 22}">{escape(self.name)}</text>']
        for number, line in enumerate(self.lines):
            texts.append(f'<text class="where" x="{self.x + 12}" y="{self.y + 40 + 16 * number}">{escape(line)}</text>')
        frame = f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}"/>'
        return frame + "".join(texts)


BOXES = (
    Box(20, 30, "App", ("producers/  (thin: no numpy)", "timbral/api/  for other languages", "timbral/cli/  for a shell")),
    Box(270, 30, "Queue", ("Redis lists: celery, batch, training", "timbral/queue/  what it looks like", "timbral/messages.py  what is sent"), "redis", 220),
    Box(560, 30, "Workers", ("workers/delivery/  hold, renew, park", "workers/tasks.py  parse, call, return", "timbral/logic/  what a task does"), "fleet", 220),
    Box(270, 170, "Data", ("files, folders, s3://, the history", "timbral/data/  rows to ids and CSR"), "", 220),
    Box(560, 170, "Training", ("timbral/judging/  hold out, measure", "timbral/models/engine/  the sweeps", "timbral/logic/gate.py  promote or not"), "fleet", 220),
    Box(560, 310, "Versions", ("timbral/versions/  store, archive, live", "timbral/models/file/  mapped, shared", "timbral/models/search/  exact top-k"), "fleet", 220),
    Box(270, 310, "Cache", ("recommendations:user:{user_id}", "embeddings, similar, popular", "timbral/keys.py  every key"), "redis", 220),
    Box(20, 310, "Answer", ("one function for producers and", "the HTTP API: list or popular,", "without seen, blocked or hidden")),
)  # fmt: skip
ARROWS = (
    ("M210 75 H266", 218, 66, "message"),
    ("M490 75 H556", 500, 66, "delivery"),
    ("M670 110 V166", 678, 142, ""),
    ("M490 210 H556", 498, 201, "CSR"),
    ("M670 250 V306", 678, 282, "a version"),
    ("M560 350 H494", 503, 341, "lists"),
    ("M270 350 H214", 222, 341, "read"),
    ("M115 310 V114", 123, 216, "the app reads a key"),
)


def picture() -> str:
    arrows = "".join(
        f'<path d="{way}"/><text class="way" x="{x}" y="{y}">{escape(words)}</text>' for way, x, y, words in ARROWS
    )
    tip = '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    title = (
        "<title>From a message to a list: app, queue, workers, training, versions, cache, and back to the app</title>"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH - 150} {HEIGHT - 20}" role="img">'
    return f"{head}{title}<style>{STYLE}</style>{tip}{''.join(box.svg() for box in BOXES)}{arrows}</svg>\n"


if __name__ == "__main__":
    TARGET.write_text(picture())
    print(f"  {TARGET.relative_to(TARGET.parents[2])}")
