"""docs/architecture.md names what is there, and its picture is what its script draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.architecture_picture import BOXES, TARGET, picture

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"\b(?:timbral|workers|producers|tests)/[a-z_/]*(?:\.py)?")


def test_each_place_that_the_page_names_exists() -> None:
    named = set(PLACE.findall((ROOT / "docs" / "architecture.md").read_text()))

    assert len(named) > 20
    assert {place for place in named if not (ROOT / place).exists()} == set()


def test_each_place_that_the_picture_names_exists() -> None:
    named = {place for box in BOXES for line in box.lines for place in PLACE.findall(line)}

    assert len(named) > 10
    assert {place for place in named if not (ROOT / place).exists()} == set()


def test_the_picture_is_what_the_script_draws() -> None:
    assert TARGET.read_text() == picture()


@pytest.mark.parametrize("room", sorted(path.name for path in (ROOT / "timbral").iterdir() if path.is_dir()))
def test_each_room_is_on_the_page(room: str) -> None:
    if room != "__pycache__":
        assert f"`timbral/{room}/`" in (ROOT / "docs" / "architecture.md").read_text()
