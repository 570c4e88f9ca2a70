"""The tasks: parse, call timbral, return JSON. Their names and arguments are public; see timbral.messages."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from celery import Task

from timbral import keys
from timbral.config.settings import settings
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.logic.embedding_refresh import EmbeddingRefresh
from timbral.messages import ComputeRecommendations, ExportUser, ForgetUsers, RefreshEmbeddings, TrainModel
from timbral.versions.served_model import ServedModel
from workers import chunks, publishing, resources
from workers.app import app
from workers.execution import (
    arrived_on_default_queue,
    delivery,
    forward,
    forward_to_own_queue,
    progress_of,
    read,
    run_once,
)

__all__ = [
    "compute_chunk",
    "compute_recommendations",
    "export_user",
    "forget_users",
    "refresh_embeddings",
    "train_model",
]

EXPORT_LIFE_S = 600
"""Seconds that an export waits for whoever asked for it."""


@app.task(bind=True, name="train_model", time_limit=settings.TRAIN_TIME_LIMIT_S)
def train_model(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Train on a data set and write a new model version."""
    # Imported here: what reads data sets takes 40 MB, and a worker that never trains does without.
    from timbral.logic.training import TrainingRun, fingerprint

    with delivery(self):
        message = read(TrainModel, args, arguments)
        forward_to_own_queue(self, arguments)
        task_id = self.request.id
        check = partial(resources.jobs().check_cancelled, task_id)
        run = TrainingRun(resources.store(), resources.overlay(), progress_of(self), check)
        state = fingerprint(message)
        return run_once(self, lambda digest: run.run(message, task_id), message.kwargs(), state)  # noqa: ARG005


@app.task(bind=True, name="compute_recommendations")
def compute_recommendations(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Write the recommendations of the users named, or of all of them."""
    with delivery(self):
        message = read(ComputeRecommendations, args, arguments)
        served = resources.store().current()
        if message.user_ids is None or len(message.user_ids) > settings.CHUNK_SIZE:
            fan_out = partial(chunks.fan_out, self.request.id, message, served)
            return run_once(self, fan_out, message.kwargs(), served.version)

        def work(_digest: str) -> dict[str, Any]:
            done = _batch(served, message).for_users(message.user_ids or [])
            return {
                "users_done": done.users,
                "users_unknown": done.unknown,
                "job_id": self.request.id,
                "model_version": served.version,
            }

        return run_once(self, work, message.kwargs(), served.version, again_for_followers=True)


@app.task(bind=True, name="compute_chunk", ignore_result=True)
def compute_chunk(self: Task, *args: Any, **arguments: Any) -> None:
    """One part of a job that ``compute_recommendations`` has split."""
    chunks.compute(self, *chunks.read(args, arguments))


@app.task(bind=True, name="refresh_embeddings")
def refresh_embeddings(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Write embeddings into the cache; of users with new plays, fold these in and renew the recommendations."""
    with delivery(self):
        message = read(RefreshEmbeddings, args, arguments)
        if message.plays:
            resources.overlay().add_plays(self.request.id, message.plays)
        served = resources.store().current()
        refresh = EmbeddingRefresh(resources.records(), resources.connector(), served)
        if message.user_ids is None and message.plays is None:
            progress = progress_of(self)

            def everybody(_digest: str) -> dict[str, Any]:
                users, items = refresh.everybody(lambda done, total: progress(done, total, f"{done}/{total} tables"))
                return _refreshed(served, users=users, items=items)

            return run_once(self, everybody, {}, served.version)
        named_users = list(dict.fromkeys([*(message.user_ids or []), *(play.user_id for play in message.plays or [])]))

        def named(_digest: str) -> dict[str, Any]:
            users, unknown = refresh.users(named_users, message.top_k)
            return _refreshed(served, users=users, users_unknown=unknown)

        asked = {"user_ids": named_users, "top_k": message.top_k}
        own = {"plays": len(message.plays or [])}
        return run_once(self, named, asked, served.version, own=own, again_for_followers=True)


@app.task(bind=True, name="forget_users", time_limit=settings.TRAIN_TIME_LIMIT_S)
def forget_users(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Remove all that is stored of users, and keep them out from then on."""
    with delivery(self):
        message = read(ForgetUsers, args, arguments)
        stored = resources.stored_data(self.request.id)
        if arrived_on_default_queue(self):
            # At once, whatever trains: files are rewritten by those that may write them.
            stored.forget_in_redis(message.user_ids)
            forward(self, arguments, publishing.queue_of("train_model"))
        return stored.forget(message.user_ids, progress_of(self))


@app.task(bind=True, name="export_user")
def export_user(self: Task, *args: Any, **arguments: Any) -> dict[str, Any]:
    """Gather all that is stored of a user, for the one who asked to read."""
    with delivery(self):
        message = read(ExportUser, args, arguments)
        found = resources.stored_data(self.request.id).export(message.user_id)
        # Not as the result, which everybody may read who knows the job, and which stays for a day.
        resources.records().set(keys.export(self.request.id), json.dumps(found), ex=EXPORT_LIFE_S)
        return {
            "models": len(found["models"]),
            "plays": len(found["history"]),
            "on_their_way": len(found["on_their_way"]),
        }


def _batch(served: ServedModel, message: ComputeRecommendations) -> BatchRecommendation:
    return BatchRecommendation(resources.records(), served, top_k=message.top_k, exclude_seen=message.exclude_seen)


def _refreshed(served: ServedModel, **counts: int) -> dict[str, Any]:
    return {"users": 0, "items": 0, "users_unknown": 0, "plays": 0, "model_version": served.version} | counts
