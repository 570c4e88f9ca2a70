"""A model is written whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from timbral.errors import ModelStoreError
from timbral.models.file import atomic_file, model_file

TENSORS = {"user_factors": np.arange(60, dtype=np.float32).reshape(12, 5)}
METADATA = {"seed": "42"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new folder" / "deep" / "production_model.pkl"
    model_file.write(path, TENSORS, METADATA)
    return path


def folder_content(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_full_disk_leaves_the_old_model_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ModelStoreError, match=rf"Cannot write .*{path.name}: File too large"):
            model_file.write(path, {"a": np.ones(100_000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert path.read_bytes() == before
    assert folder_content(path) == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_at_any_step_leaves_the_old_model_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_file.os, step, fail)
    with pytest.raises(ModelStoreError, match="No space left on device"):
        model_file.write(path, TENSORS, METADATA)
    monkeypatch.undo()

    assert path.read_bytes() == before
    assert folder_content(path) == [path.name]


def test_a_place_where_nothing_can_be_written_is_named(path: Path) -> None:
    with pytest.raises(ModelStoreError, match="Cannot write"):
        model_file.write(path / "below a file", TENSORS)
    with pytest.raises(ModelStoreError, match="directory"):
        model_file.write(path.parent, TENSORS)
    with pytest.raises(OSError, match="null"):
        model_file.write("a\0b", TENSORS)
    assert folder_content(path) == [path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(ModelStoreError, match="Permission denied"):
            model_file.write(path, TENSORS)
    finally:
        path.parent.chmod(0o700)


def test_a_new_model_has_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        model_file.write(tmp_path / "m", TENSORS)
    finally:
        os.umask(umask)

    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_writer_left_is_removed_later(path: Path) -> None:
    old, recent = path.parent / ".a.timbral-tmp", path.parent / ".b.timbral-tmp"
    for leftover in (old, recent):
        leftover.write_bytes(b"half a model")
    yesterday = time.time() - 86_400
    os.utime(old, (yesterday, yesterday))

    model_file.write(path, TENSORS)

    assert folder_content(path) == [recent.name, path.name]


def test_writers_at_the_same_time_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "m"

    def write(number: int) -> None:
        array = np.full((300, 100), number, np.float32)
        model_file.write(path, {"a": array, "b": array}, {"number": str(number)})

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(40)]
        while not all(writer.done() for writer in writers):
            tensors, metadata = model_file.read(path)
            for array in tensors.values():
                assert (array == int(metadata["number"])).all()
    for writer in writers:
        writer.result()
    assert folder_content(path) == ["m"]
