"""Plots: SVG that a parser reads, with the values in it and nothing that a policy forbids."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from timbral.console import plots
from timbral.console.job_stream import loss_plot
from timbral.console.plots import Series, bar_plot, line_plot, scatter_plot, share_plot, standalone

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_a_line_falls_where_its_values_fall_and_tells_each_of_them() -> None:
    made = parsed(line_plot("Loss", [Series("Loss", [(1, 9.0), (2, 4.0), (3, 1.0)])], x_label="Sweep"))

    line = made.find("polyline")
    assert line is not None
    heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
    assert heights == sorted(heights)  # a smaller value is further down
    assert heights[1] - heights[0] > heights[2] - heights[1]
    assert [title.text for title in made.iter("title")] == ["Loss, 1: 9", "Loss, 2: 4", "Loss, 3: 1"]
    assert made.attrib["aria-label"] == "Loss"


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.0, 2.0], [1e-9, 2e-9], [1e12, 2e12], [0.1] * 300])
def test_any_values_stay_inside_of_the_drawing(values: list[float]) -> None:
    made = parsed(line_plot("x", [Series("x", list(enumerate(values)))], x_label=""))

    for point in str(made.find("polyline").attrib["points"]).split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 460
        assert 0 <= y <= 240


def test_what_is_no_finite_number_is_left_out_and_nothing_is_said_to_be_nothing() -> None:
    some = parsed(line_plot("x", [Series("x", [(1, math.nan), (2, 1.0), (3, math.inf), (4, 2.0)])], x_label=""))

    assert len(str(some.find("polyline").attrib["points"]).split()) == 2
    assert "nothing to draw yet" in line_plot("x", [Series("x", [(1, math.nan)])], x_label="")
    assert "nothing to draw yet" in bar_plot("x", [])
    assert "nothing to draw yet" in scatter_plot(
        "x", [(0, 1, "left out of a logarithm")], x_label="", y_label="", log_x=True
    )


def test_hostile_names_stay_text() -> None:
    hostile = '"><script>alert(1)</script>'
    for svg in (
        line_plot(hostile, [Series(hostile, [(1, 1.0), (2, 2.0)], [hostile, hostile])] * 2, x_label=hostile),
        bar_plot(hostile, [(hostile, 3.0)], y_label=hostile),
        scatter_plot(hostile, [(1, 1, hostile)], x_label=hostile, y_label=hostile),
    ):
        assert "<script" not in svg
        assert "style=" not in svg
        parsed(svg)


def test_a_bar_is_as_high_as_its_value() -> None:
    made = parsed(bar_plot("Plays a day", [("Mon", 10.0), ("Tue", 20.0), ("Wed", 0.0)]))

    heights = [float(bar.attrib["height"]) for bar in made.iter("rect")]
    assert heights[1] == pytest.approx(2 * heights[0])
    assert heights[2] == 0


def test_a_running_trainings_losses_become_a_line_for_each_of_its_fits() -> None:
    assert loss_plot([("measuring", 1.0, 9.0)]) is None

    made = loss_plot([("measuring", 1.0, 9.0), ("measuring", 2.0, 5.0), ("training", 1.0, 8.0), ("training", 2.0, 4.0)])

    assert made is not None
    assert len(list(parsed(made).iter("polyline"))) == 2


def test_a_share_is_a_bar_to_the_right_and_marks_alone_have_no_line() -> None:
    made = parsed(share_plot("What mattered", [("regularization", 0.6), ("<n>", 0.3)]))
    widths = [float(bar.attrib["width"]) for bar in made.iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert "60%" in [text.text for text in made.iter("text")]
    assert "nothing to draw yet" in share_plot("What mattered", [])

    dots = parsed(line_plot("x", [Series("x", [(1, 1.0), (2, 2.0)], drawn_as="marks")], x_label=""))
    line = parsed(line_plot("x", [Series("x", [(1, 1.0), (2, 2.0)], drawn_as="line")], x_label=""))
    assert (len(list(dots.iter("circle"))), len(list(dots.iter("polyline")))) == (2, 0)
    assert (len(list(line.iter("circle"))), len(list(line.iter("polyline")))) == (0, 1)


def test_a_plot_of_its_own_is_a_whole_svg_file_in_the_consoles_colours() -> None:
    made = ElementTree.fromstring(standalone(bar_plot("Plays", [("Mon", 1.0)])))

    style = made.find(f"{SVG}style")
    assert style is not None
    page = (Path(plots.__file__).parent / "static" / "page.css").read_text()
    light = page.split("@media")[0]
    assert set(re.findall(r"#[0-9a-f]{6}", str(style.text))) <= set(re.findall(r"#[0-9a-f]{6}", light))
