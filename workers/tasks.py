"""The tasks: parse, call timbral, return JSON. Their names and arguments are public; see timbral.messages."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from celery import Task
from celery.exceptions import Ignore

from timbral import keys
from timbral.config.settings import settings
from timbral.errors import JobCancelledError
from timbral.lists.filtered import ItemFilter
from timbral.lists.item_sets import ItemSets
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.logic.embedding_refresh import EmbeddingRefresh
from timbral.messages import (
    REFRESH_PLAYED,
    ComputeRecommendations,
    ExportUser,
    ForgetUsers,
    RefreshEmbeddings,
    TrainModel,
    TuneModel,
)
from timbral.queue import layout
from timbral.tuning.kept_settings import KeptSettings
from timbral.versions.served_model import ServedModel
from workers import chunks, played, publishing, resources, successors, tuning
from workers.app import app
from workers.delivery import beginning
from workers.execution import delivery, progress_of, read, run_once
from workers.live_model import while_live

__all__ = [
    "archive_plays",
    "compute_chunk",
    "compute_recommendations",
    "export_user",
    "forget_users",
    "refresh_embeddings",
    "refresh_played",
    "train_block",
    "train_model",
    "tune_model",
]

EXPORT_LIFE_S = 600
"""Seconds that an export waits for whoever asked for it."""


@app.task(bind=True, name="train_model", time_limit=settings.TRAIN_TIME_LIMIT_S)
def train_model(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Train on the history of plays, or on a data set, and write a new model version."""
    # Imported here: what reads data sets takes 40 MB, and a worker that never trains does without.
    from timbral.engines.checkpoint_files import JobCheckpoints, checkpoint_archive, checkpoint_folder
    from timbral.logic.training import TrainingRun, fingerprint
    from workers import train_blocks

    try:
        with delivery(self):
            message, tuned = KeptSettings(resources.records()).applied(read(self, TrainModel, args, arguments))
            task_id = self.request.id
            check = partial(resources.jobs().check_cancelled, task_id)
            if message.dataset is None and message.history_version is None:
                resources.archive().run()

            def work(_digest: str) -> dict[str, Any]:
                with (
                    train_blocks.engine_of(message.engine, task_id, check) as engine,
                    train_blocks.reader_of(message.engine, task_id) as reader,
                ):
                    store, overlay, progress = resources.store(), resources.overlay(), progress_of(self)
                    run = TrainingRun(store, overlay, progress, check, engine.halves_of, tuned, reader)
                    return run.run(message, task_id)

            answer = run_once(self, work, message.kwargs(), fingerprint(message))
            # Who played something before there was a model has waited for this one.
            played.send_if_waiting()
            return answer
    except JobCancelledError:
        # Also one that was cut off, and cancelled before it came back.
        JobCheckpoints(checkpoint_folder(settings.MODEL_DIR), self.request.id, 0.0, checkpoint_archive()).clear()
        raise


@app.task(bind=True, name="tune_model", time_limit=settings.TRAIN_TIME_LIMIT_S)
def tune_model(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Search for the settings that rank a data set, or the history of plays, best."""
    # Imported here, as for a training.
    from timbral.logic.training import fingerprint

    with delivery(self):
        message = read(self, TuneModel, args, arguments)
        if message.dataset is None and message.history_version is None:
            resources.archive().run()
        fan_out = partial(tuning.fan_out, self.request.id, message, progress_of(self), successors.asked(self))
        return run_once(self, fan_out, message.kwargs(), fingerprint(message))


@app.task(bind=True, name="compute_recommendations")
def compute_recommendations(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Write the recommendations of the users named, or of all of them."""
    with delivery(self):
        message = read(self, ComputeRecommendations, args, arguments)
        served = resources.store().current()
        names = ItemFilter.of(message.allow, message.exclude).names
        # Refused before anything is begun; and a request is another one where a set is.
        sets = [one.version for one in ItemSets(resources.records()).named(names)]
        if message.user_ids is None or len(message.user_ids) > settings.CHUNK_SIZE:
            fan_out = partial(chunks.fan_out, self.request.id, message, served, successors.asked(self))
            return run_once(self, fan_out, message.kwargs(), served.version, *sets)

        def work(_digest: str) -> dict[str, Any]:
            used, done = while_live(lambda live: _batch(live, message).for_users(message.user_ids or []), served)
            return {
                "users_done": done.users,
                "users_unknown": done.unknown,
                "job_id": self.request.id,
                "model_version": used.version,
            }

        return run_once(self, work, message.kwargs(), served.version, *sets, again_for_followers=True)


@app.task(bind=True, name="compute_chunk", ignore_result=True)
def compute_chunk(self: Task, *args: Any, **arguments: Any) -> None:
    """One part of a job that ``compute_recommendations`` or ``tune_model`` has split."""
    chunks.compute(self, *chunks.read(args, arguments))


@app.task(bind=True, name="train_block", ignore_result=True)
def train_block(self: Task, **arguments: Any) -> None:
    """One block of a training that the whole fleet does."""
    # As in train_model.
    from workers import train_blocks

    with delivery(self):
        train_blocks.do_block(arguments)


@app.task(bind=True, name="refresh_embeddings")
def refresh_embeddings(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Write embeddings into the cache; of users with new plays, fold these in and renew the recommendations."""
    with delivery(self):
        message = read(self, RefreshEmbeddings, args, arguments)
        store = resources.store()
        live = store.live()
        if message.plays:
            resources.overlay().add_plays(self.request.id, message.plays, refresh=not live[0])
        served = store.current(live if live[0] else None)
        refresh = partial(EmbeddingRefresh, resources.records(), resources.connector())
        if message.user_ids is None and message.plays is None:
            progress = progress_of(self)

            def tables(live: ServedModel) -> tuple[int, int]:
                return refresh(live).everybody(lambda done, total: progress(done, total, f"{done}/{total} tables"))

            def everybody(_digest: str) -> dict[str, Any]:
                used, (users, items) = while_live(tables, served)
                return _refreshed(used, users=users, items=items)

            return run_once(self, everybody, {}, served.version)
        named_users = list(dict.fromkeys([*(message.user_ids or []), *(play.user_id for play in message.plays or [])]))

        def named(_digest: str) -> dict[str, Any]:
            used, (users, unknown) = while_live(lambda live: refresh(live).users(named_users, message.top_k), served)
            return _refreshed(used, users=users, users_unknown=unknown)

        asked = {"user_ids": named_users, "top_k": message.top_k}
        own = {"plays": len(message.plays or [])}
        return run_once(self, named, asked, served.version, own=own, again_for_followers=True)


@app.task(bind=True, name="forget_users", time_limit=settings.TRAIN_TIME_LIMIT_S)
def forget_users(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Remove all that is stored of users, and keep them out from then on."""
    with delivery(self):
        message = read(self, ForgetUsers, args, arguments)
        stored = resources.stored_data(self.request.id)
        if (self.request.delivery_info or {}).get("routing_key") == layout.DEFAULT_QUEUE:
            # At once, whatever trains: files are rewritten by those that may write them, when it is their turn.
            stored.forget_in_redis(message.user_ids)
            asked = successors.asked(self)
            publishing.publish(self.name, arguments, self.request.id, asked, layout.own_queue("train_model"))
            raise Ignore
        return stored.forget(message.user_ids, progress_of(self))


@app.task(bind=True, name="export_user")
def export_user(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Gather all that is stored of a user, for the one who asked to read."""
    with delivery(self):
        message = read(self, ExportUser, args, arguments)
        found = resources.stored_data(self.request.id).export(message.user_id)
        # Not as the result, which everybody may read who knows the job, and which stays for a day.
        resources.records().set(keys.export(self.request.id), json.dumps(found), ex=EXPORT_LIFE_S)
        return {
            "models": len(found["models"]),
            "plays": len(found["history"]),
            "on_their_way": len(found["on_their_way"]),
        }


@app.task(bind=True, name=REFRESH_PLAYED, ignore_result=True, notes_its_beginning=True)
def refresh_played(self: Task) -> None:
    """Refresh the vectors and lists of users who have played something; sent with the plays that ``record_plays``
    records."""
    with delivery(self, is_job=False):
        played.refresh_waiting(beginning.noted_by_itself(self))


@app.task(bind=True, name="archive_plays", ignore_result=True)
def archive_plays(self: Task) -> None:
    """Move recorded plays into the history, and keep its table in order; the scheduler sends it."""
    with delivery(self):
        resources.archive().run_alone()


def _batch(served: ServedModel, message: ComputeRecommendations) -> BatchRecommendation:
    options = {name: getattr(message, name) for name in chunks.LIST_OPTIONS}
    return BatchRecommendation(resources.records(), served, **options)


def _refreshed(served: ServedModel, **counts: int) -> dict[str, Any]:
    return {"users": 0, "items": 0, "users_unknown": 0, "plays": 0, "model_version": served.version} | counts
