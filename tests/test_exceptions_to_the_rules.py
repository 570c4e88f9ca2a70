"""A rule that does not hold somewhere says there why: the linter's, the type checker's, and that no test waits for a fixed
time."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("timbral", "workers", "producers", "tests", "tools", "benchmarks", "examples")
WITH_REASON = re.compile(r"# (noqa: [A-Z0-9, ]+ - |type: ignore\[[a-z, -]+\]  # )\S")
WITHOUT = re.compile(r"# ?(noqa|type: ?ignore)", re.IGNORECASE)


def exceptions(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comment that excepts its line from a rule."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and WITHOUT.search(token.string):
            yield token.start[0], token.string


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_exception_to_a_rule_has_its_reason_on_the_line(folder: str) -> None:
    listed = [
        f"{path.relative_to(ROOT)}:{line} {comment}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if WITHOUT.search(source := path.read_text())
        for line, comment in exceptions(source)
        if not WITH_REASON.match(comment)
    ]

    assert listed == []


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("x = 1  # noqa: S101 - the app has them", True),
        ("x = 1  # noqa: S101, PT018 - the caller's order", True),
        ("x = 1  # type: ignore[misc]  # Celery has no types", True),
        ("x = 1  # noqa", False),
        ("x = 1  # noqa: S101", False),
        ("x = 1  # type: ignore", False),
        ("x = 1  # type: ignore[misc]", False),
    ],
)
def test_what_a_reason_looks_like(line: str, is_told: bool) -> None:
    [(_, comment)] = exceptions(line)

    assert bool(WITH_REASON.match(comment)) is is_told


def waits(tree: ast.AST) -> Iterator[int]:
    """Lines of ``time.sleep`` that no loop looks again after."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.While):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
            yield node.lineno
        yield from waits(node)


def test_a_test_that_waits_for_a_fixed_time_says_why() -> None:
    untold = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        source = path.read_text()
        lines = source.splitlines()
        if "time.sleep" in source:
            untold += [
                f"{path.relative_to(ROOT)}:{line}"
                for line in waits(ast.parse(source))
                if not re.search(r"# ", lines[line - 1]) and not lines[line - 2].lstrip().startswith("#")
            ]

    assert untold == []
