"""A thin install says what a command lacks, before anything is started."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from timbral import extras
from timbral.cli import main
from timbral.errors import ParameterError
from timbral.extras import require


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """No module of any extra can be found, and no server either."""
    optional = {module for modules in extras.MODULES.values() for module in modules}
    find = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        return None if name.partition(".")[0] in optional else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setenv("PATH", "")


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("up", "worker,dashboard,api,embedded"),
        ("demo", "worker,history,embedded"),
        ("serve", "api"),
        ("models list", "worker"),
        ("names x.csv", "worker"),
    ],
)
def test_a_command_says_in_one_line_which_extras_it_lacks(
    command: str, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"pip install 'timbral[{missing}]'" in err


ON_DEMAND = {"ray", "spark"}
"""Not in dev: who tests an engine installs it."""
IMPORTED = {"pyspark-client": "pyspark"}
"""Modules that are called otherwise than what brings them."""


def test_what_is_installed_is_not_asked_for() -> None:
    require("timbral up", *(extra for extra in extras.MODULES if extra not in ON_DEMAND))
    with pytest.raises(KeyError):
        require("timbral up", "no such extra")


def test_each_extra_that_is_asked_for_is_one_and_brings_its_modules() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for extra, modules in extras.MODULES.items():
        lines = [re.split(r"[<>=\[]", line)[0] for line in project["optional-dependencies"][extra]]
        names = [IMPORTED.get(line, line.replace("-", "_")) for line in lines]
        assert set(modules) <= set(names), extra


def test_the_error_is_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.MODULES, "api", ("no_such_module",))
    with pytest.raises(ParameterError, match=r"the extra api\."):
        require("timbral serve", "api")


def test_types_are_checked_where_the_benchmarks_peers_are_not_installed() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    peers = {re.split(r"[>=\[]", peer)[0] for peer in pyproject["project"]["optional-dependencies"]["bench"]} - {
        "timbral"
    }

    ignored = {
        module.removesuffix(".*")
        for override in pyproject["tool"]["mypy"]["overrides"]
        if override.get("ignore_missing_imports")
        for module in override["module"]
    }

    assert {peer.removesuffix("-cpu") for peer in peers} <= ignored
