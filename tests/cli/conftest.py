"""The command line in this process: fast, and with the same ``producers`` connection as the test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import structlog

from timbral.cli import main


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, as JSON."""
        import json

        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """``cli("show", "7")``: run a command and return its exit code and output."""
    monkeypatch.setenv("COLUMNS", "200")
    root = logging.getLogger()
    kept = root.handlers[:], root.level

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    yield run
    root.handlers[:], root.level = kept[0], kept[1]
    structlog.reset_defaults()
