"""The store of a training's arrays, where it cannot be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from timbral.engines import block_store
from timbral.engines.block_store import BlockStore
from timbral.errors import TrainingError


def test_a_store_without_room_is_an_error_that_names_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlockStore(tmp_path, "training")
    store.open()

    def full(file: object, array: object, **_: object) -> None:
        raise OSError("192000 requested and 31712 written")  # numpy's words, without a number

    monkeypatch.setattr(block_store.np, "save", full)

    with pytest.raises(TrainingError, match=rf"cannot write users0\.indices into .*{tmp_path.name}.*is there room"):
        store.put("users0.indices", np.zeros(3))
    assert list(store.folder.iterdir()) == []


def test_a_training_that_has_ended_takes_no_more(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BlockStore(tmp_path, "training").put("users0.indices", np.zeros(3))
