"""The order in which files are run: each that is named is there, and named once."""

from __future__ import annotations

from pathlib import Path

from slow_files import COMPUTING, FIRST, WAITING


def test_each_file_that_goes_first_is_there_and_named_once() -> None:
    assert [name for name in FIRST if not (Path(__file__).parent / name).is_file()] == []
    assert len(set(FIRST)) == len(FIRST) == len(WAITING) + len(COMPUTING)
