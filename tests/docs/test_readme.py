"""The README and the docs say what is true: what they show is run, what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fleet_fixtures import Fleet
from typer.testing import CliRunner

from timbral.cli.application import application
from timbral.config.settings import Settings
from timbral.data.dataset_file import DatasetFile
from timbral.data.read_options import ReadOptions
from timbral.history.importing import import_plays
from timbral.history.table import HistoryTable
from timbral.messages import MESSAGES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]


@pytest.mark.integration
def test_the_example_in_the_readme_runs_as_it_stands(live: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"<!-- example -->\n```python\n(.*?)```", README, re.DOTALL)
    assert code

    # What users have played before, as a fleet that has been recording for a while has it.
    file = DatasetFile.of(live.data_dir / "plays.csv")
    import_plays(HistoryTable(live.data_dir / "history"), file, ReadOptions())

    names: dict[str, object] = {}
    exec(compile(code[1], "README.md", "exec"), names)

    assert "'recall@20':" in capsys.readouterr().out
    assert names["producers"].get_recommendations(1100)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_make_target_that_a_page_names_can_be_made() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE))
        assert named <= targets, f"{page.name} names {sorted(named - targets)}"


def test_every_command_that_a_page_names_is_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for command in set(re.findall(r"(?:^    |`|\$ )timbral ([a-z-]+)", text, re.MULTILINE)):
            run = CliRunner().invoke(application, [command, "--help"])
            assert run.exit_code == 0, f"{page.name} names `timbral {command}`: {run.output}"


def test_every_setting_in_the_readme_is_one_with_the_default_that_it_has() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \| ([^|]*) \|", README, re.MULTILINE)
    assert len(rows) >= 6

    for names, defaults in rows:
        for name, default in zip(names.split(", "), defaults.split(", "), strict=True):
            field = Settings.model_fields[name.strip("`")]
            assert default.strip() == ("unset" if field.default is None else f"`{field.default}`"), name


def test_every_task_is_shown_in_the_readme() -> None:
    assert [task for task in MESSAGES if task not in README] == []
