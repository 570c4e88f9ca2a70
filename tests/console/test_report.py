"""``timbral report``: one file that needs no other, with its plots inside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

from timbral.console.report import report
from timbral.errors import ModelNotFoundError
from timbral.versions.model_store import ModelStore
from tools.example_users import Example


def test_a_report_is_one_file_with_its_plots(store: redis.Redis, example: Example, seeded: object) -> None:
    version = example.served.version

    made = report(store, version, ModelStore(store, seeded.directory / "models").get(version))

    assert version in made
    assert "<svg" in made
    assert "The long tail" in made
    assert not re.search(r"<script|<link|<img|https?://|url\(", made)


def test_without_the_models_file_the_record_is_reported(store: redis.Redis, example: Example, tmp_path: Path) -> None:
    made = report(store, example.served.version)

    assert "The long tail" not in made
    assert "Nothing was held out" in made


def test_of_no_version_there_is_no_report(store: redis.Redis) -> None:
    with pytest.raises(ModelNotFoundError):
        report(store, "20200101T000000-1")
