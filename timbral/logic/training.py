"""A training from the data set to the live model: read, measure, fit, write, promote.

It fits twice. The first model sees all but the held-out rows: from it come the metrics and the gate's verdict. The second one sees
everything, and is the version that goes live: a user's newest or a fifth of their plays are worth more in the model than the time
of the second fit. ``holdout=0`` fits once, without metrics and without a gate.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

import timbral
from timbral.config.settings import Constants, settings
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_parts import dataset_files
from timbral.data.dataset_path import resolve_dataset
from timbral.data.interactions import Interactions
from timbral.errors import DataError, ModelFileError, ModelNotFoundError
from timbral.judging.hold_out import hold_out
from timbral.judging.ranking import popularity_ranking
from timbral.judging.stable_hold_out import stable_hold_out
from timbral.logic import gate as promotion_gate
from timbral.logic.overlay import Overlay
from timbral.logic.trainer import ModelTrainer
from timbral.messages import TrainModel, utc_now
from timbral.models.nmf_model import NMFModel
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel

__all__ = ["TrainingRun", "fingerprint"]

logger = structlog.get_logger(__name__)

METRICS_K = 20
MAX_EVALUATED = 50_000
"""Users that the metrics are taken over; of more, so many are drawn."""

READ_ARGUMENTS = {
    "format", "preset", "separator", "columns", "quoted", "encoding", "decimal", "user_col", "item_col", "value_col",
    "time_col", "time_format", "on_missing", "repeats",
}  # fmt: skip
"""The message's arguments that ``DataLoader.load_csr`` takes as they are."""

OnProgress = Callable[[int, int, str], None]


@dataclass
class TrainingRun:
    """One training.

    Args:
        store: where the version goes.
        overlay: new plays, of which those that the model has now seen are dropped.
        on_progress: called with (done, total, text) after each step.
        check: called with each step; raises to stop the training, which then leaves nothing behind.
    """

    store: ModelStore
    overlay: Overlay
    on_progress: OnProgress = lambda done, total, text: None  # noqa: ARG005
    check: Callable[[], None] = lambda: None

    def run(self, message: TrainModel, task_id: str) -> dict[str, Any]:
        """Train as ``message`` says; gives the task's answer. A training that was done before gives its answer again.

        Raises:
            DatasetNotFoundError, DataError, ParameterError: the data set or an argument; nothing changed.
            TrainingError: the fit failed; nothing changed.
            ModelStoreError: the version cannot be written; nothing changed.
        """
        ticket = self.store.begin(task_id)
        log = logger.bind(version=ticket.version)
        if ticket.answer is not None:
            log.info("was trained before")
            return ticket.answer
        durations_s: dict[str, float] = {}
        max_iter = Constants.NMF_MAX_ITER if message.max_iter is None else message.max_iter
        self.on_progress(0, max_iter * 2, "reading the data set")
        with _timed(durations_s, "read"):
            data = self._read(message)
        found = data.report()
        log.info("read", users=data.matrix.shape[0], items=data.matrix.shape[1], interactions=data.matrix.nnz, **found)
        self.on_progress(0, max_iter * 2, _said_of(data, found))

        trainer = ModelTrainer()
        options = (message.n_components, message.random_state, message.max_iter, message.tol)
        metrics: dict[str, float] = {}
        baseline: dict[str, float] = {}
        evaluated: NMFModel | None = None
        train = held_out = None
        if message.holdout > 0:
            with _timed(durations_s, "evaluate"):
                train, held_out = self._split(data, message)
                if held_out.nnz:
                    callback = self._fit_callback(0, max_iter * 2, "measuring")
                    evaluated = trainer.train_nmf_model(train, *options, callback=callback)
                    metrics, baseline = _measure(trainer, evaluated, train, held_out)
        verdict = self._verdict(message, evaluated, train, held_out, data)
        with _timed(durations_s, "fit"):
            model = trainer.train_nmf_model(
                data.matrix, *options, callback=self._fit_callback(max_iter, max_iter * 2, "training")
            )
        history = trainer.training_history[-1]
        record = {
            "version": ticket.version,
            "created_at": utc_now(),
            "dataset": message.dataset,
            "timbral": timbral.__version__,
            "n_users": model.n_users,
            "n_items": model.n_items,
            "n_interactions": int(data.matrix.nnz),
            "n_components": model.n_components,
            "iterations": history["n_iterations"],
            "loss": float(history["loss"]),
            "user_id_kind": found["user_id_kind"],
            "item_id_kind": found["item_id_kind"],
            "value_col": found["value_col"],
            "data": found,
            "parameters": model.parameters(),
            "holdout": message.holdout,
            "metrics": metrics,
            "baseline": baseline,
            "verdict": verdict[1],
            "file": f"{ticket.version}.safetensors",
        }
        users = np.bincount(data.matrix.indices, minlength=model.n_items).astype(np.int64)
        self.check()
        self.on_progress(max_iter * 2 - 1, max_iter * 2, "writing the model")
        with _timed(durations_s, "write"):
            record["durations_s"] = dict(durations_s)
            served = ServedModel(ticket.version, model, data.user_ids, data.item_ids, users, evaluated, record)
            self.store.write(served)
        promoted, reason = self._promote(ticket.version, *verdict)
        if promoted:
            self.overlay.drop_seen(served)
        self.store.prune(settings.KEEP_MODELS)
        answer = {
            "model_version": ticket.version,
            "promoted": promoted,
            "reason": reason,
            **{
                name: record[name]
                for name in (
                    "n_users",
                    "n_items",
                    "n_interactions",
                    "n_components",
                    "iterations",
                    "loss",
                    "user_id_kind",
                    "item_id_kind",
                    "value_col",
                    "data",
                )
            },
            "metrics": metrics,
            "baseline": baseline,
            "durations_s": {name: round(value, 3) for name, value in durations_s.items()},
        }
        self.store.finish(task_id, ticket, answer)
        self.on_progress(max_iter * 2, max_iter * 2, f"{ticket.version}: {reason}")
        log.info("trained", promoted=promoted, reason=reason, **answer["durations_s"])
        return answer

    def _read(self, message: TrainModel) -> Interactions:
        loader = ModelTrainer().data_loader
        limits = (Constants.MIN_PLAYS_THRESHOLD, Constants.MAX_PLAYS_THRESHOLD)
        min_plays, max_plays = limits if message.apply_play_thresholds else (None, None)
        read = message.model_dump(include=READ_ARGUMENTS)
        return loader.load_csr(
            resolve_dataset(message.dataset, settings.DATA_DIR, settings.DATASET_URI_PREFIXES),
            min_plays=min_plays,
            max_plays=max_plays,
            on_rows=lambda n_rows: self.check(),  # noqa: ARG005
            **read,
        )

    def _split(self, data: Interactions, message: TrainModel) -> tuple[Any, Any]:
        if data.times is not None:
            return hold_out(data.matrix, message.holdout, 0, data.times)
        return stable_hold_out(data.matrix, data.user_ids, data.item_ids, message.holdout)

    def _fit_callback(self, start: int, total: int, what: str) -> Callable[[int, int, float], None]:
        def callback(iteration: int, max_iter: int, loss: float) -> None:
            self.check()
            self.on_progress(start + min(iteration, max_iter) - 1, total, f"{what}: sweep {iteration}, loss {loss:.6g}")

        return callback

    def _verdict(
        self, message: TrainModel, evaluated: NMFModel | None, train: Any, held_out: Any, data: Interactions
    ) -> tuple[bool, str]:
        """Whether the version may go live, and why."""
        if message.promote != "if_not_worse":
            return message.promote == "always", f"promote is {message.promote!r}"
        try:
            live = self.store.current()
        except ModelNotFoundError:
            return True, "the first model"
        except ModelFileError as error:
            return True, f"the live model cannot be read: {error}"
        if evaluated is None:
            return True, "not compared with the live model: nothing was held out"
        if live.item_ids.is_int != data.item_ids.is_int:
            return True, "not compared with the live model: the items' ids are of another type"
        verdict = promotion_gate.compare(evaluated, live, train, held_out, data.item_ids, k=METRICS_K)
        return not verdict.worse, str(verdict)

    def _promote(self, version: str, may: bool, reason: str) -> tuple[bool, str]:
        if not may:
            return False, reason
        if self.store.promote(version) == "stale":
            return False, "a training that began later went live meanwhile"
        return True, reason


def fingerprint(message: TrainModel) -> str:
    """What tells one state of the data set's files from another; equal trainings of equal states do the work once."""
    file = resolve_dataset(message.dataset, settings.DATA_DIR, settings.DATASET_URI_PREFIXES)
    states = [_state(one) for one in dataset_files(file)]
    return states[0] if len(states) == 1 else hashlib.sha256("\n".join(states).encode()).hexdigest()


def _state(file: DatasetFile) -> str:
    if file.filesystem is not None:
        info = file.filesystem.get_file_info(file.path)
        return f"{info.mtime_ns}:{info.size}"
    with file.open() as opened:
        status = os.fstat(opened.fileno())
    return f"{status.st_mtime_ns}:{status.st_size}:{status.st_ino}"


def _said_of(data: Interactions, found: dict[str, Any]) -> str:
    """The data set in a line, before the training begins."""
    n_users, n_items = data.matrix.shape
    parts = [f"{found['rows']:,} rows"]
    parts += [f"{found['rows_dropped']:,} left out"] if found["rows_dropped"] else []
    parts += [f"{found['rows_repeated']:,} repeated ({found['repeats']})"] if found["rows_repeated"] else []
    parts += [f"{n_users:,} users ({found['user_id_kind']}) × {n_items:,} items ({found['item_id_kind']})"]
    parts += [f"density {found['density']:.2g}", f"values: {found['value_col'] or '1 a row'}"]
    parts += [f"{found['items_with_one_user']:,} items with one user"] if found["items_with_one_user"] else []
    return "data: " + ", ".join(parts)


def _measure(
    trainer: ModelTrainer, model: NMFModel, train: Any, held_out: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """The model's metrics and popularity's, over the same users."""
    users = np.flatnonzero(np.diff(held_out.indptr))
    if len(users) > MAX_EVALUATED:
        users = np.sort(np.random.default_rng(0).choice(users, MAX_EVALUATED, replace=False))
    judge = trainer.evaluation_metrics
    rankings = model.recommend(users, top_k=METRICS_K), popularity_ranking(train, METRICS_K, users)
    mine, popular = (
        judge.evaluate_ranking(ranking, held_out, METRICS_K, train_csr=train, user_ids=users) for ranking in rankings
    )
    if not all(np.isfinite(value) for value in mine.values()):
        raise DataError(f"the metrics of the new model are not finite: {mine}")
    return mine, popular


class _timed:  # noqa: N801 - reads as a statement
    def __init__(self, durations_s: dict[str, float], name: str) -> None:
        self.durations_s = durations_s
        self.name = name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.durations_s[self.name] = time.perf_counter() - self.started
