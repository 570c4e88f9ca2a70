"""A worker for one program: what is said where it does not become ready."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from timbral.errors import TimbralError
from timbral.stack import one_worker as module
from timbral.stack.one_worker import one_worker


def program(folder: Path, text: str) -> str:
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_a_worker_that_ends_is_told_with_its_code_and_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, "echo; echo no room; exit 7"))

    with (
        pytest.raises(TimbralError, match=r"the worker ended with code 7; the end of its log:\nno room$"),
        one_worker("redis://127.0.0.1:1", tmp_path / "log", {}, concurrency=1),
    ):
        pass


def test_a_worker_that_is_slow_is_told_from_one_that_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, "exec sleep 60"))
    monkeypatch.setattr(module, "READY_S", 0.2)

    with (
        pytest.raises(TimbralError, match="the worker was not ready after 0 s: is the machine busy"),
        one_worker("redis://127.0.0.1:1", tmp_path / "log", {}, concurrency=1),
    ):
        pass
