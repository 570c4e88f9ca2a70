"""The pictures of docs/images, from the JSON of a run: ``python -m benchmarks.curves`` draws the last one's again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.results import RESULTS

IMAGES = Path(__file__).parent.parent / "docs" / "images"
OURS, IMPLICIT, SKLEARN = "#1b7f5c", "#c1522d", "#5b6b9a"


def draw(content: dict[str, Any]) -> list[Path]:
    """One PNG for each benchmark that has a curve."""
    mpl.use("Agg")
    numbers = {result["name"]: result["numbers"] for result in content["results"] if not result["skipped"]}
    drawn = []
    pictures = (
        ("lastfm_quality", "quality", _quality),
        ("time_to_quality", "time-to-quality", _time_to_quality),
        ("classic_speed", "classic", _classic),
        ("top_k_speed", "top-k", _top_k),
    )
    for name, file, plot in pictures:
        if name not in numbers:
            continue
        figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
        plot(axes, numbers[name])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        IMAGES.mkdir(parents=True, exist_ok=True)
        path = IMAGES / f"bench-{file}.png"
        figure.savefig(path, dpi=110, metadata={"Software": ""})
        plt.close(figure)
        drawn.append(path)
    return drawn


def _quality(axes: Axes, numbers: dict[str, Any]) -> None:
    for name, key, colour in (
        ("timbral, defaults", "by_k", OURS),
        ("implicit ALS, best of its grid", "implicit_by_k", IMPLICIT),
    ):
        points = sorted((int(k), quality[0]) for k, quality in numbers[key].items())
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=name)
    k, recall, _ = numbers["sklearn"]
    axes.plot([k], [recall], "s", color=SKLEARN, label="scikit-learn NMF, its best")
    axes.axhline(numbers["popularity"][0], color="grey", ls=":", label="popularity")
    axes.set(xlabel="factors", ylabel="recall@20", title="Last.fm 2K, 20 % held out, full ranking")
    axes.legend(frameon=False, fontsize=8)


def _time_to_quality(axes: Axes, numbers: dict[str, Any]) -> None:
    name = next((name for name in numbers if name.startswith("Last.fm")), next(iter(numbers)))
    for label, key, colour in (
        ("timbral, its choice included", "ours, with its choice", OURS),
        ("implicit ALS", "implicit", IMPLICIT),
    ):
        points = [(took, score) for took, score, _ in numbers[name][key]]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=label)
    axes.axhline(numbers[name]["goal"], color=IMPLICIT, ls=":", lw=1)
    axes.set(xscale="log", xlabel="seconds of training", ylabel="recall@20 + NDCG@20", title=name)
    axes.legend(frameon=False, fontsize=8)


def _classic(axes: Axes, numbers: dict[str, Any]) -> None:
    axes.plot(*zip(*numbers["curve"], strict=True), "-", color=OURS, label="timbral")
    axes.plot([numbers["sklearn_s"]], [numbers["target"] / 1.001], "s", color=SKLEARN, label="scikit-learn, done")
    axes.axhline(numbers["target"], color=SKLEARN, ls=":", lw=1, label="scikit-learn's loss + 0.1 %")
    axes.set(xscale="log", xlabel="seconds of training", ylabel="‖X − WH‖²", title="The classic objective")
    axes.legend(frameon=False, fontsize=8)


def _top_k(axes: Axes, numbers: dict[str, Any]) -> None:
    names = list(numbers)
    for shift, key, colour, label in ((-0.2, "ours_s", OURS, "timbral"), (0.2, "implicit_s", IMPLICIT, "implicit")):
        bars = axes.barh(
            [place + shift for place in range(len(names))],
            [numbers[n][key] for n in names],
            0.36,
            color=colour,
            label=label,
        )
        axes.bar_label(bars, fmt="%.2f s", padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), [name.replace(": ", ":\n") for name in names])
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set(xlabel="seconds", title="Top-10 for 30,000 users × 40,000 items")
    axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    for image in draw(json.loads((RESULTS / "latest.json").read_text())):
        print(f"{image.name}: {image.stat().st_size / 1e3:.0f} kB")
