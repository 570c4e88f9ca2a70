"""A training from the plays to the live model: read, measure, fit, write, promote.

It fits twice. The first model sees all but the held-out rows: from it come the metrics and the gate's verdict. The
second one sees
everything, and is the version that goes live: a user's newest or a fifth of their plays are worth more in the model
than the time of the second fit. Where the live model held out other rows than this training does, one more fit makes
the two comparable. ``holdout=0`` fits once, without metrics, and goes live only where ``promote`` is "always" or
nothing is live yet.

With ``warm_start`` the second fit starts from the live model's factors. The first one never does: the live model has
seen rows that this training holds out.

What each fit has reached is kept in checkpoints, so that a training that is cut off goes on when it is delivered again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

import timbral
from timbral.config.settings import settings
from timbral.data.data_report import report_line
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_parts import dataset_files
from timbral.data.dataset_path import resolve_dataset
from timbral.data.interactions import Interactions
from timbral.engines.checkpoint_files import JobCheckpoints, checkpoint_archive, checkpoint_folder, remove_orphans
from timbral.errors import DataError, ModelFileError, ModelNotFoundError, RedisUnavailableError, TimbralError
from timbral.history.location import open_history
from timbral.judging.metrics import RankingMetrics
from timbral.judging.popularity import popularity_ranking, users_per_item
from timbral.lists.forgotten import Forgotten
from timbral.logic import gate
from timbral.logic.fits import Fits
from timbral.logic.gate import Verdict
from timbral.logic.live_start import live_start
from timbral.logic.overlay import Overlay
from timbral.logic.play_reading import PlayReading
from timbral.logic.split import Parts, Split
from timbral.logic.trainer import ModelTrainer
from timbral.messages import DataMessage, TrainModel, utc_now
from timbral.models.engine.factorization import HalvesOf
from timbral.models.engine.halves import HalvesHere
from timbral.models.nmf_model import NMFModel
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel
from timbral.versions.trainings import Training

if TYPE_CHECKING:
    from timbral.spark_data.spark_reader import SparkReader

__all__ = ["TrainingRun", "fingerprint"]

logger = structlog.get_logger(__name__)

METRICS_K = 20
MAX_EVALUATED = 50_000
"""Users that the metrics are taken over; of more, so many are drawn."""

ORPHAN_AGE = 2
"""Times TRAIN_TIME_LIMIT_S after which a training that was cut off does not come back."""

COPIED = (
    "n_users", "n_items", "n_interactions", "n_components", "iterations", "loss", "user_id_kind", "item_id_kind",
    "value_col", "data", "chosen", "metrics", "errors", "baseline", "tuned", "started_from", "read_by",
    "sampled",
)  # fmt: skip
"""Fields of a version's record that stand in the training's answer too."""

OnProgress = Callable[[int, int, str], None]


@dataclass
class TrainingRun:
    """One training.

    Args:
        store: where the version goes.
        overlay: new plays, of which those that the model was trained on are dropped when it goes live.
        on_progress: called with (done, total, text) after each step.
        check: called with each step; raises to stop the training, which then leaves nothing behind.
        halves_of: who does the half-sweeps.
        tuned: where the message's settings are from that a search found; None where none are.
        spark: what reads parquet and the history in this process's place; None where it reads them itself.
    """

    store: ModelStore
    overlay: Overlay
    on_progress: OnProgress = lambda done, total, text: None  # noqa: ARG005 - called with it
    check: Callable[[], None] = lambda: None
    halves_of: HalvesOf = HalvesHere
    tuned: dict[str, Any] | None = None
    spark: SparkReader | None = None

    def __post_init__(self) -> None:
        self.forgotten = Forgotten(self.store.redis)

    def run(self, message: TrainModel, task_id: str) -> dict[str, Any]:
        """Train as ``message`` says; returns the task's answer. A training that was done before gives its answer again.

        Raises:
            DatasetNotFoundError, DataError, ParameterError: the data set or an argument; nothing changed.
            TrainingError: the fit failed; nothing changed.
            ModelStoreError: the version cannot be written; nothing changed.
        """
        ticket = self.store.trainings.begin(task_id)
        if ticket.answer is not None:
            logger.info("already trained, answering again", version=ticket.version)
            return ticket.answer
        folder = checkpoint_folder(self.store.model_dir)
        archive = checkpoint_archive()
        remove_orphans(folder, ORPHAN_AGE * settings.TRAIN_TIME_LIMIT_S, archive)
        checkpoints = JobCheckpoints(folder, task_id, settings.CHECKPOINT_EVERY_S, archive)
        try:
            written = self.store.written(ticket.version)
            if written is None:
                answer = self._train(message, task_id, ticket, checkpoints)
            else:
                answer = self._go_on(message, task_id, ticket, written)
        except TimbralError as error:
            if not isinstance(error, RedisUnavailableError):  # which is tried again
                checkpoints.clear()
            raise
        checkpoints.clear()
        return answer

    def _go_on(self, message: TrainModel, task_id: str, ticket: Training, written: ServedModel) -> dict[str, Any]:
        """From the version that another delivery has written, whose file others may have taken up: one of more plays
        under its name would be another model."""
        logger.info("already written, going on from there", version=ticket.version)
        # That delivery may have been lost before it looked whether somebody was forgotten meanwhile.
        self.store.remove_forgotten(ticket.version, list(self.forgotten.among(list(written.user_ids))))
        record = written.record
        return self._end(message, task_id, ticket, record, dict(record["durations_s"]), 1)

    def _train(
        self, message: TrainModel, task_id: str, ticket: Training, checkpoints: JobCheckpoints
    ) -> dict[str, Any]:
        log = logger.bind(version=ticket.version)
        durations_s: dict[str, float] = {}
        fits = Fits(message, self.on_progress, self.check, checkpoints, self.halves_of)
        reading = "reading the history" if message.dataset is None else "reading the data set"
        self.on_progress(0, fits.total, reading)
        with _timed(durations_s, "read"):
            n_forgotten = self.forgotten.count()
            plays = PlayReading(
                self.forgotten, self.check, self.spark,
                lambda text: self.on_progress(0, fits.total, f"{reading} on Spark: {text}"),
            )  # fmt: skip
            read = plays.read(message)
        data, sample, stored = read.plays, read.sample, read.stored
        found = data.report()
        log.info("read", users=data.matrix.shape[0], items=data.matrix.shape[1], interactions=data.matrix.nnz, **found)
        self.on_progress(0, fits.total, report_line(found, data.matrix.shape))

        split = Split.of(sample, message.holdout)
        evaluated: NMFModel | None = None
        measured: tuple[RankingMetrics, RankingMetrics] | None = None
        with _timed(durations_s, "evaluate"):
            if split is not None:
                parts = split.apply(sample)
                if parts.held_out.nnz:
                    evaluated = fits.fit(parts.train, parts.times, "measuring")
                    measured = _measure(fits.trainer, evaluated, parts)
            verdict = self._verdict(fits, evaluated, split, data, sample)
        if split is None:
            del durations_s["evaluate"]
        metrics, baseline = ({}, {}) if measured is None else (measured[0].result(), measured[1].result())
        with _timed(durations_s, "fit"):
            start = live_start(self.store, message, data)
            model = fits.fit(data.matrix, data.times, "training", start, stored)
        history = fits.trainer.training_history
        record = {
            "version": ticket.version,
            "created_at": utc_now(),
            "dataset": message.dataset,
            "dataset_digest": digest_of(data),
            "arguments": message.model_dump(mode="json"),
            "history": read.history,
            "timbral": timbral.__version__,
            "n_users": model.n_users,
            "n_items": model.n_items,
            "n_interactions": int(data.matrix.nnz),
            "n_components": model.n_components,
            "iterations": history["n_iterations"],
            "started_from": None if start is None else start.version,
            "converged": history["converged"],
            "loss": float(history["loss"]),
            "loss_per_iteration": history["loss_per_iteration"],
            "parameters": history["parameters"],
            "chosen": history["chosen"],
            "user_id_kind": found["user_id_kind"],
            "item_id_kind": found["item_id_kind"],
            "value_col": found["value_col"],
            "data": found,
            "read_by": "trainer" if stored is None else "spark",
            "sampled": read.sampled,
            "tuned": self.tuned,
            "holdout": message.holdout,
            "split": None if evaluated is None or split is None else split.as_dict(),
            "metrics": metrics,
            "errors": {} if measured is None else measured[0].errors(),
            "baseline": baseline,
            "verdict": verdict.as_dict(),
            "file": f"{ticket.version}.safetensors",
        }
        self.check()
        self.on_progress(fits.total - 1, fits.total, "writing the model")
        with _timed(durations_s, "write"):
            record["durations_s"] = dict(durations_s)
            users = users_per_item(data.matrix) if stored is None else stored.item_counts
            served = ServedModel(
                ticket.version, model, data.user_ids, data.item_ids, users, evaluated, record, rated_zero=data.zeros
            )
            meanwhile = self.store.written(ticket.version)
            if meanwhile is not None:
                # This process stood still for so long that its message was given to another, which is further.
                return self._go_on(message, task_id, ticket, meanwhile)
            self.store.write(served)
            if self.forgotten.count() != n_forgotten:
                # Somebody was forgotten while this trained, and the erasure may have looked before the file was there.
                self.store.remove_forgotten(ticket.version, list(self.forgotten.among(list(data.user_ids))))
        return self._end(message, task_id, ticket, record, durations_s, fits.total)

    def _end(
        self,
        message: TrainModel,
        task_id: str,
        ticket: Training,
        record: dict[str, Any],
        durations_s: dict[str, float],
        n_steps: int,
    ) -> dict[str, Any]:
        """What follows when the version is written: it may go live, and the training has its answer."""
        verdict = Verdict(**record["verdict"])
        promoted, reason = self._promote(ticket.version, message.promote, verdict)
        if promoted and record["history"] is not None:
            self.overlay.drop_trained(record["history"]["watermark"])
        self.store.prune(settings.KEEP_MODELS)
        answer = {
            "model_version": ticket.version,
            "promoted": promoted,
            "verdict": verdict.outcome,
            "reason": reason,
            **{name: record[name] for name in COPIED},
            "durations_s": {name: round(value, 3) for name, value in durations_s.items()},
        }
        self.store.trainings.finish(task_id, ticket, answer)
        self.store.trainings.count(
            "promoted" if promoted else "not_asked" if message.promote == "never" else "held_back"
        )
        self.on_progress(n_steps, n_steps, f"{ticket.version}: {reason}")
        logger.info("trained", version=ticket.version, promoted=promoted, reason=reason, **answer["durations_s"])
        return answer

    def read(self, message: DataMessage) -> Interactions:
        """The plays that ``message`` is about, in memory.

        Raises:
            DatasetNotFoundError, DataError, HistoryError: they cannot be read.
        """
        return PlayReading(self.forgotten, self.check).read(message).plays

    def _verdict(
        self, fits: Fits, evaluated: NMFModel | None, split: Split | None, data: Interactions, sample: Interactions
    ) -> Verdict:
        """How the new model compares with the live one, on ``sample`` of ``data``, whatever ``promote`` says."""
        try:
            live = self.store.current()
        except ModelNotFoundError:
            return gate.FIRST
        except ModelFileError as error:
            return Verdict("first", f"the live model cannot be read: {error}")
        if evaluated is None:
            return gate.not_compared("nothing was held out of the new data set", live)
        verdict = gate.incomparable(data, live)
        if verdict is not None:
            return verdict
        theirs = Split.read(live.record.get("split"))
        if theirs is None or not theirs.fits(sample):
            return gate.not_compared("it held out the newest rows, and the new data set has no times", live)
        parts = theirs.apply(sample)
        candidate = evaluated if theirs == split else fits.fit(parts.train, parts.times, "comparing")
        return gate.compare(candidate, live, parts.train, parts.held_out, sample.item_ids, k=METRICS_K)

    def _promote(self, version: str, asked: str, verdict: Verdict) -> tuple[bool, str]:
        if asked == "never" or (asked == "if_not_worse" and not verdict.promotes):
            return False, verdict.reason if asked == "if_not_worse" else f"promote is 'never'; {verdict.reason}"
        if self.store.promote(version) == "stale":
            return False, "a training that began later went live meanwhile"
        return (
            True,
            verdict.reason
            if verdict.promotes
            else f"promote is 'always'; {verdict.reason.removesuffix(gate.OVERRULES)}",
        )


def digest_of(data: Interactions) -> str:
    """Of what a data set says: the same for the same ids and plays, whatever file they came in."""
    digest = hashlib.blake2b(digest_size=16)
    ids = data.user_ids.to_tensors("user") | data.item_ids.to_tensors("item")
    for array in (data.matrix.indptr, data.matrix.indices, data.matrix.data, *(ids[name] for name in sorted(ids))):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def fingerprint(message: DataMessage) -> str:
    """What tells one state of the history or of the data set's files from another; equal trainings of equal states do
    the work once."""
    if message.dataset is None:
        return f"history:{open_history().version() if message.history_version is None else message.history_version}"
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


def _measure(trainer: ModelTrainer, model: NMFModel, parts: Parts) -> tuple[RankingMetrics, RankingMetrics]:
    """The model's metrics and popularity's, over the same users."""
    users = np.flatnonzero(np.diff(parts.held_out.indptr))
    if len(users) > MAX_EVALUATED:
        users = np.sort(np.random.default_rng(0).choice(users, MAX_EVALUATED, replace=False))
    judge = trainer.evaluation_metrics
    rankings = model.recommend(users, top_k=METRICS_K), popularity_ranking(parts.train, METRICS_K, users)
    mine, popular = (
        judge.judged(ranking, parts.held_out, METRICS_K, train_csr=parts.train, user_ids=users) for ranking in rankings
    )
    found = mine.result()
    if not all(np.isfinite(value) for value in found.values()):
        raise DataError(f"the metrics of the new model are not finite: {found}")
    return mine, popular


class _timed:  # noqa: N801 - reads as a statement
    def __init__(self, durations_s: dict[str, float], name: str) -> None:
        self.durations_s = durations_s
        self.name = name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.durations_s[self.name] = time.perf_counter() - self.started
