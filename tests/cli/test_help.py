"""Help that is worth reading: every command has examples that parse, every option a sentence, every result a JSON
form."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from timbral.cli.application import application

Cli = Callable[..., Any]
PROGRAMS = {"demo", "up", "serve"}
ALWAYS_JSON = {"export-user"}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    group = group or typer.main.get_command(application)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


def examples(name: str) -> list[str]:
    text = inspect.cleandoc(COMMANDS[name].help or "")
    return [" ".join(match.split()) for match in re.findall(r"^\$ (timbral [^\n]*(?:\n[^\n$]+)*)", text, re.MULTILINE)]


def test_every_command_that_was_promised_is_there() -> None:
    assert set(COMMANDS) == {
        "train", "tune", "recommend", "refresh", "show", "block", "unblock", "hide", "unhide", "forget", "export-user",
        "health", "doctor", "report", "names", "version", "demo", "up", "serve",
        "plays record", "plays import", "plays export", "plays stats",
        "job list", "job status", "job wait", "job cancel", "queue drop",
        "sets list", "sets show", "sets put", "sets delete",
        "models list", "models show", "models compare", "models promote", "models roll-back", "models prune",
        "dead-letters list", "dead-letters show", "dead-letters send-again", "dead-letters delete",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"version"}))
def test_every_command_has_an_example_that_parses(name: str) -> None:
    found = examples(name)
    assert found
    for example in found:
        words = shlex.split(example)[1:]
        assert words[: len(name.split())] == name.split()
        COMMANDS[name].make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_sentence_and_every_result_a_json_form(name: str) -> None:
    options = [parameter for parameter in COMMANDS[name].params if parameter.param_type_name == "option"]
    for option in options:
        assert option.help, option.name
    assert name in PROGRAMS | ALWAYS_JSON or any("--json" in option.opts for option in options)


def test_the_first_page_says_the_exit_codes_and_where_to_begin(cli: Cli) -> None:
    for arguments in (("--help",), ("-h",)):
        ran = cli(*arguments)
        assert ran.code == 0
        for said in ("timbral train plays.csv", "Exit codes", "3 Redis is unreachable", "REDIS_URL"):
            assert said in ran.out


def test_called_with_nothing_it_shows_its_help(cli: Cli) -> None:
    ran = cli()
    assert ran.code in (0, 2)
    assert "Usage: timbral" in ran.out + ran.err
