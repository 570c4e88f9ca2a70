"""Trainings of a small data set, each with a store of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from taste import history, write_history

from timbral.config.settings import settings
from timbral.history.table import HistoryTable
from timbral.logic import play_reading, training
from timbral.logic.overlay import Overlay
from timbral.logic.training import TrainingRun
from timbral.messages import TrainModel
from timbral.versions.model_store import ModelStore

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def store(client: redis.Redis, tmp_path: Path) -> ModelStore:
    return ModelStore(client, tmp_path / "models", n_threads=1)


@pytest.fixture
def train(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    changed = settings.model_copy(
        update={"DATA_DIR": tmp_path, "NMF_N_COMPONENTS": 8, "N_THREADS": 1, "KEEP_MODELS": 3}
    )
    for module in (training, play_reading):
        monkeypatch.setattr(module, "settings", changed)
    monkeypatch.setattr("timbral.models.nmf_model.settings", changed)
    monkeypatch.setattr("timbral.models.kernels.threads.settings", changed)
    write_history(tmp_path / "plays.csv", history(200))

    def run(
        task_id: str, *, check: Any = lambda: None, progress: Any = lambda *_: None, **arguments: Any
    ) -> dict[str, Any]:
        message = TrainModel(**{"dataset": "plays.csv"} | arguments)
        return TrainingRun(store, Overlay(store.redis), progress, check).run(message, task_id)

    return run


@pytest.fixture
def table(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HistoryTable:
    monkeypatch.setattr("timbral.history.location.settings", training.settings)
    return HistoryTable(tmp_path / "history")
