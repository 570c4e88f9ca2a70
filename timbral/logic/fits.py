"""The fits of one training: all with the message's options, their progress one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.config.settings import Constants
from timbral.engines.checkpoint_files import CheckpointFiles, JobCheckpoints
from timbral.logic.live_start import LiveStart
from timbral.logic.trainer import ModelTrainer
from timbral.messages import MODEL_OPTIONS, TrainModel
from timbral.models.engine.factorization import HalvesOf
from timbral.models.nmf_model import NMFModel

if TYPE_CHECKING:
    from timbral.spark_data.stored_plays import StoredPlays

__all__ = ["Fits"]


class Fits:
    """The fits of one training, all with the message's options, and their progress."""

    def __init__(
        self,
        message: TrainModel,
        on_progress: Callable[[int, int, str], None],
        check: Callable[[], None],
        checkpoints: JobCheckpoints,
        halves_of: HalvesOf,
    ) -> None:
        self.trainer = ModelTrainer()
        self._checkpoints = checkpoints
        self._halves_of = halves_of
        self._message = message
        self._on_progress = on_progress
        self._check = check
        self._max_iter = Constants.NMF_MAX_ITER if message.max_iter is None else message.max_iter
        self.total = self._max_iter * 2
        self._done = 0 if message.holdout > 0 else self._max_iter

    def fit(
        self,
        matrix: sparse.csr_matrix,
        times: npt.NDArray[np.int64] | None,
        what: str,
        start: LiveStart | None = None,
        stored: StoredPlays | None = None,
    ) -> NMFModel:
        """One fit; ``what`` it is for stands in the progress. ``stored``: the same data where no process holds them."""
        message, done_before = self._message, self._done
        if what == "comparing":  # one more than was reckoned with
            self.total += self._max_iter

        def callback(iteration: int, max_iter: int, loss: float) -> None:
            self._check()
            done = done_before + min(iteration, max_iter) - 1
            self._on_progress(done, self.total, f"{what}: sweep {iteration}, loss {loss:.6g}")

        options = {name: getattr(message, name) for name in MODEL_OPTIONS if getattr(message, name) is not None}
        model = self.trainer.train_nmf_model(
            matrix if stored is None else stored,
            message.n_components,
            message.random_state,
            message.max_iter,
            message.tol,
            callback=callback,
            times=times if stored is None else None,
            known=None if start is None else start.known,
            checkpoints=self._checkpoints_of(matrix, times, start, options),
            halves_of=self._halves_of if stored is None else stored.halves_of,
            **options,
        )
        self._done += self._max_iter
        return model

    def _checkpoints_of(
        self,
        matrix: sparse.csr_matrix,
        times: npt.NDArray[np.int64] | None,
        start: LiveStart | None,
        options: dict[str, Any],
    ) -> CheckpointFiles:
        """Those of this very fit: its data, where it starts, and all that it is asked."""
        message = self._message
        # With what unset means here: another worker, that goes on, may have other settings.
        asked = NMFModel(message.n_components, message.random_state, message.max_iter, message.tol, **options)
        known = (None, None) if start is None else (start.known.user, start.known.item)
        return self._checkpoints.of_fit(asked.parameters(), (matrix.indptr, matrix.indices, matrix.data, times, *known))
