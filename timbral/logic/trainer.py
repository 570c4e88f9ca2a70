"""ModelTrainer: one training, with a record of it."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy.typing as npt

import timbral
from timbral.judging.matrix import MatrixLike
from timbral.models.engine.factorization import Callback, HalvesOf
from timbral.models.engine.halves import HalvesHere
from timbral.models.engine.training_state import Checkpoints
from timbral.models.fitting.training_data import TrainingData
from timbral.models.fitting.warm_start import KnownFactors
from timbral.models.nmf_model import NMFModel
from timbral.utils.data_loader import DataLoader
from timbral.utils.evaluation import EvaluationMetrics

__all__ = ["ModelTrainer", "chosen_by_data"]

logger = logging.getLogger(__name__)


class ModelTrainer:
    """Trains models and keeps a record of the last training.

    Attributes:
        data_loader: a DataLoader.
        evaluation_metrics: an EvaluationMetrics.
        training_history: the record of the last training, a dict; empty before the first. See ``train_nmf_model``.
    """

    def __init__(self) -> None:
        self.data_loader = DataLoader()
        self.evaluation_metrics = EvaluationMetrics()
        self.training_history: dict[str, Any] = {}

    def train_nmf_model(
        self,
        user_item_matrix: MatrixLike | TrainingData,
        n_components: int | None = None,
        random_state: int | None = None,
        max_iter: int | None = None,
        tol: float | None = None,
        *,
        callback: Callback | None = None,
        times: npt.ArrayLike | None = None,
        known: KnownFactors | None = None,
        checkpoints: Checkpoints | None = None,
        halves_of: HalvesOf = HalvesHere,
        **options: Any,
    ) -> NMFModel:
        """Fit an NMFModel to ``user_item_matrix`` and put a record of it into ``training_history``, in place of the one
        before.

        The record has ``parameters`` (a dict), ``chosen`` (what of them the data decided), ``n_users``, ``n_items``,
        ``shape``, ``n_interactions``, ``density``, ``n_iterations``, ``converged``, ``loss`` (after the last sweep),
        ``loss_per_iteration`` (a list), ``duration_s`` and ``version`` (timbral's); all of it is plain JSON. None means
        what NMFModel takes for it; ``options`` are NMFModel's keyword-only ones, ``times``, ``known``, ``checkpoints``
        and ``halves_of`` those of its ``fit``. Raises what ``NMFModel`` and its ``fit`` raise; a training that failed
        leaves the record as it was.
        """
        model = NMFModel(n_components, random_state, max_iter, tol, **options)
        started = time.perf_counter()
        model.fit(user_item_matrix, callback, times=times, known=known, checkpoints=checkpoints, halves_of=halves_of)
        duration_s = time.perf_counter() - started
        self.training_history = {
            "parameters": model.parameters(),
            "chosen": chosen_by_data(model),
            "n_users": model.n_users,
            "n_items": model.n_items,
            "shape": [model.n_users, model.n_items],
            "n_interactions": model.n_interactions,
            "density": model.n_interactions / (model.n_users * model.n_items),
            "n_iterations": model.n_iter_,
            "converged": model.converged,
            "loss": model.training_history[-1],
            "loss_per_iteration": list(model.training_history),
            "duration_s": duration_s,
            "version": timbral.__version__,
        }
        logger.info(
            "Trained %d × %d in %.2f s, %d sweeps, loss %.6g",
            model.n_users,
            model.n_items,
            duration_s,
            model.n_iter_,
            model.training_history[-1],
        )
        return model


def chosen_by_data(model: NMFModel) -> dict[str, float]:
    """Of each argument of NMFModel that a fit may choose, what it used."""
    target = model.objective.resolved().unobserved_target
    return {
        "unobserved_target": float(target or 0.0),
        "unobserved_weight": model.unobserved_weight_,
        **model.chosen_,
    }
