"""One name, one thing; one thing, one name. The glossary is in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("timbral", "workers", "producers")
INSTEAD = {"listener": "user", "door": "HTTP API", "sign of life": "liveness", "house rules": "habits"}
"""A word that the code does not use, and the one that it uses."""
OTHERS_WORDS = ROOT / "timbral" / "data" / "column_words.py"
"""What people call the columns of their files."""


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("word", INSTEAD)
def test_a_thing_that_has_a_name_gets_no_second_one(word: str) -> None:
    pattern = re.compile(rf"(?<![a-z]){word}s?(?![a-z])", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        if path != OTHERS_WORDS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line.replace("_", " "))
    ]
    assert found == [], f"say {INSTEAD[word]}"


def test_each_word_of_the_glossary_is_used() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Glossary")[1].split("\n## ")[0]
    code = "\n".join(path.read_text() for path in sources()).lower().replace("_", " ")
    words = re.findall(r"^\| \*\*([a-z -]+)\*\*", section, re.MULTILINE)

    assert len(words) > 15
    assert [word for word in words if word.replace("-", " ") not in code and word not in code] == []
