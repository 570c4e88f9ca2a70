"""A version's report: one HTML file that needs nothing else, to be mailed or kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

import timbral
from timbral.api.routes.page import FILES
from timbral.console.plots import Series, line_plot
from timbral.console.readers.models import PLOTTED, loss_series, metric_series, read_version, read_versions
from timbral.console.rendering import render_text
from timbral.messages import utc_now

if TYPE_CHECKING:
    from timbral.versions.served_model import ServedModel

__all__ = ["report"]

STYLES = ("page.css", "console.css")


def report(client: redis.Redis, version: str, served: ServedModel | None = None) -> str:
    """The report's HTML, with its plots inside.

    Args:
        client: of the Redis of the versions' records.
        version: the version's name.
        served: its model, for what the record does not say; without it the report is without that part.

    Raises:
        ModelNotFoundError: there is no such version.
    """
    record = read_version(client, version)
    others = read_versions(client, n_more=PLOTTED).records
    over_time = line_plot(
        "Metrics of the versions, the oldest first", metric_series(others), x_label="Version, oldest to newest"
    )
    return render_text(
        "report.html",
        record=record,
        plot=line_plot("Loss after each sweep", loss_series(record), x_label="Sweep", y_label="Loss"),
        over_time=over_time,
        styles="\n".join(FILES[name].content.decode() for name in STYLES),
        made_at=utc_now(),
        timbral=timbral.__version__,
        **_of_the_items(served),
    )


def _of_the_items(served: ServedModel | None) -> dict[str, Any]:
    if served is None:
        return {"figures": None, "tail": None}
    from timbral.console.readers.catalogue import figures_of

    figures = figures_of(served)
    return {"figures": figures, "tail": tail_plot(figures.tail)}


def tail_plot(tail: list[tuple[float, float]]) -> Any:
    """How few items have how many of the plays."""
    points = [(100 * items, 100 * plays) for items, plays in tail]
    return line_plot(
        "Share of the interactions that the most played items have",
        [Series("Share of the interactions, %", points, [f"the top {x:.3g} % of the items" for x, _ in points])],
        x_label="Items, the most played first, %",
        y_label="Interactions, %",
    )
