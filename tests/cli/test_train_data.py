"""``timbral train``: what it tells of a file by itself, and what its options say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fleet_fixtures import Fleet

from timbral.config.settings import settings

pytestmark = pytest.mark.integration

Cli = Callable[..., Any]
QUICK = ("--max-iter", "3", "--holdout", "0", "--promote", "never", "--json")


@pytest.fixture(autouse=True)
def _live(live: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    known = settings.model_copy(update={"DATA_DIR": live.data_dir})
    monkeypatch.setattr("timbral.cli.at_hand.settings", known)


def rows(live: Fleet, separator: str) -> str:
    return (live.data_dir / "plays.csv").read_text().partition("\n")[2].replace(",", separator)


def test_the_example_of_its_own_help_needs_no_options(cli: Cli, live: Fleet) -> None:
    (live.data_dir / "lastfm.dat").write_text("userID\tartistID\tweight\n" + rows(live, "\t"))

    answer = cli("train", "lastfm.dat", *QUICK).json

    assert answer["n_users"] == 120
    assert (answer["value_col"], answer["user_id_kind"]) == ("weight", "int")
    assert answer["data"]["separator"] == "\t"


def test_every_option_reaches_the_reader(cli: Cli, live: Fleet) -> None:
    text = rows(live, "::").replace("\n", "::01 Jan 2026\n") + "-::1::1::01 Jan 2026\n"
    (live.data_dir / "headless.txt").write_bytes(text.encode("latin-1"))
    options = (
        "--format", "csv", "--separator", "::", "--columns", "who, what,often,day", "--encoding", "latin-1",
        "--no-quoted",
        "--user-col", "who", "--item-col", "what", "--value-col", "often", "--time-col", "day", "--time-format",
        "%d %b %Y",
        "--on-missing", "drop", "--repeats", "max", "--decimal", ",",
    )  # fmt: skip

    answer = cli("train", "headless.txt", *options, *QUICK).json

    assert answer["n_users"] == 120
    found = answer["data"]
    assert (found["rows_dropped"], found["repeats"], found["time_col"], found["value_col"]) == (
        1,
        "max",
        "day",
        "often",
    )
    assert cli("train", "headless.txt", *options, "--count-rows", *QUICK).json["value_col"] is None


def test_a_wrong_word_is_refused_before_anything_is_sent(cli: Cli) -> None:
    for option in ("--preset", "--on-missing", "--repeats", "--decimal"):
        ran = cli("train", "plays.csv", option, "nonsense")
        assert ran.code == 2
        assert option.removeprefix("--").replace("-", "_") in ran.err


def test_a_file_that_is_not_there_is_answered_with_what_is(cli: Cli) -> None:
    ran = cli("train", "play.csv")

    assert ran.code == 2
    assert "No data set at play.csv: in the folder" in ran.err
    assert "did you mean plays.csv?" in ran.err
