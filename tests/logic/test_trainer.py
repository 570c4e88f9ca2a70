"""ModelTrainer: a training and the record of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import timbral
from timbral.config.settings import Constants, settings
from timbral.errors import DataError, ParameterError, TrainingError
from timbral.logic.trainer import ModelTrainer
from timbral.models.nmf_model import NMFModel
from timbral.utils.data_loader import DataLoader
from timbral.utils.evaluation import EvaluationMetrics


@pytest.fixture
def matrix() -> sparse.csr_matrix:
    return sparse.random(30, 20, 0.2, "csr", np.float32, np.random.default_rng(0))


def test_has_its_parts_and_an_empty_history() -> None:
    trainer = ModelTrainer()

    assert isinstance(trainer.data_loader, DataLoader)
    assert isinstance(trainer.evaluation_metrics, EvaluationMetrics)
    assert trainer.training_history == {}


def test_trains_and_records_what_the_training_was(matrix: sparse.csr_matrix) -> None:
    trainer = ModelTrainer()

    model = trainer.train_nmf_model(matrix, n_components=5, random_state=0, max_iter=12, tol=0.0)

    assert isinstance(model, NMFModel)
    assert model.is_fitted
    record = trainer.training_history
    assert record["parameters"]["n_components"] == 5
    assert record["parameters"]["random_state"] == 0
    assert record["parameters"]["max_iter"] == 12
    assert record["parameters"]["tol"] == 0.0
    assert record["shape"] == [30, 20]
    assert record["n_interactions"] == matrix.nnz
    assert record["density"] == pytest.approx(matrix.nnz / 600)
    assert record["n_iterations"] == len(record["loss_per_iteration"]) == model.n_iter_
    assert record["loss_per_iteration"] == model.training_history
    assert record["loss"] == record["loss_per_iteration"][-1]
    assert record["duration_s"] > 0
    assert record["version"] == timbral.__version__
    assert json.loads(json.dumps(record)) == record


def test_nothing_given_means_the_settings(matrix: sparse.csr_matrix) -> None:
    trainer = ModelTrainer()

    trainer.train_nmf_model(matrix, None, None, None, None)

    parameters = trainer.training_history["parameters"]
    assert parameters["n_components"] == settings.NMF_N_COMPONENTS
    assert parameters["random_state"] == settings.NMF_RANDOM_STATE
    assert (parameters["max_iter"], parameters["tol"]) == (Constants.NMF_MAX_ITER, Constants.NMF_TOL)


def test_the_record_is_that_of_the_last_training(matrix: sparse.csr_matrix) -> None:
    trainer = ModelTrainer()

    for n_components in (2, 3):
        trainer.train_nmf_model(matrix, n_components, 1, 5, 0.0, unobserved_weight=0.5)

    assert trainer.training_history["parameters"]["n_components"] == 3
    assert trainer.training_history["parameters"]["unobserved_weight"] == 0.5


def test_what_the_data_decided_is_recorded_as_it_was_used(matrix: sparse.csr_matrix) -> None:
    trainer = ModelTrainer()

    model = trainer.train_nmf_model(matrix, 4, 1, 5, 0.0, regularization=0.25)

    chosen = trainer.training_history["chosen"]
    assert trainer.training_history["parameters"]["unobserved_weight"] is None
    assert chosen["unobserved_weight"] == model.unobserved_weight_ > 0
    assert chosen["regularization"] == 0.25
    assert chosen["unobserved_target"] == 0.5


def test_takes_what_the_loader_makes(tmp_path) -> None:
    frame = pd.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [10, 11, 10, 12], "rating": [5, 3, 4, 1]})
    frame.to_csv(tmp_path / "plays.csv", index=False)
    trainer = ModelTrainer()

    loaded = trainer.data_loader.load_user_interactions(tmp_path / "plays.csv")
    model = trainer.train_nmf_model(trainer.data_loader.create_user_item_matrix(loaded), 2, 0, 20, 1e-4)

    assert (model.n_users, model.n_items, model.n_interactions) == (3, 3, 4)


def test_a_training_that_failed_leaves_no_record(matrix: sparse.csr_matrix) -> None:
    trainer = ModelTrainer()

    with pytest.raises(DataError):
        trainer.train_nmf_model(-matrix, 2, 0, 5, 0.0)
    with pytest.raises(ParameterError):
        trainer.train_nmf_model(matrix, 0, 0, 5, 0.0)
    with pytest.raises(TrainingError):
        trainer.train_nmf_model(matrix, 2, 0, 5, 0.0, callback=lambda *_: False)

    assert trainer.training_history == {}


def test_progress_is_told(matrix: sparse.csr_matrix) -> None:
    calls: list[tuple[int, int, float]] = []

    ModelTrainer().train_nmf_model(matrix, 2, 0, 5, 0.0, callback=lambda *call: calls.append(call))

    assert [limit for _, limit, _ in calls] == [5] * len(calls)
    assert len(calls) > 1
