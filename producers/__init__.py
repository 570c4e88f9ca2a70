"""timbral from another app: record plays, read what the fleet wrote, enqueue the three tasks and follow them.

    import producers

    producers.record_plays([{"user_id": 7, "item_id": 12}])
    producers.get_recommendations(7)          # [{"item_id": 31, "score": 0.83}, …], or None for a cold user
    producers.enqueue_train_model().wait(timeout_s=600)["model_version"]      # on all that was recorded
    producers.enqueue_compute_recommendations(user_ids=[7]).wait(timeout_s=60)

Where Redis is comes from the environment (REDIS_URL, REDIS_PASSWORD, BROKER_URL) or from ``connect``. Everything may be
called from several threads, after a fork, and from asyncio through ``asyncio.to_thread``. Nothing here loads numpy.
"""

from __future__ import annotations

from producers.blocks import block_items, blocked_items, hidden_items, hide_items, unblock_items, unhide_items
from producers.connections import close, connect
from producers.enqueue import (
    enqueue_compute_recommendations,
    enqueue_refresh_embeddings,
    enqueue_train_model,
    enqueue_tune_model,
)
from producers.erasure import export_user, forget_user, forget_users
from producers.item_sets import ItemSet, delete_item_set, get_item_set, list_item_sets, put_item_set
from producers.jobs import Job, Progress, job
from producers.plays import record_plays
from producers.recommendations import get_popular, get_recommendations, get_recommendations_many, get_similar
from timbral.messages import Id, Play

__all__ = [
    "Id",
    "ItemSet",
    "Job",
    "Play",
    "Progress",
    "block_items",
    "blocked_items",
    "close",
    "connect",
    "delete_item_set",
    "enqueue_compute_recommendations",
    "enqueue_refresh_embeddings",
    "enqueue_train_model",
    "enqueue_tune_model",
    "export_user",
    "forget_user",
    "forget_users",
    "get_item_set",
    "get_popular",
    "get_recommendations",
    "get_recommendations_many",
    "get_similar",
    "hidden_items",
    "hide_items",
    "job",
    "list_item_sets",
    "put_item_set",
    "record_plays",
    "unblock_items",
    "unhide_items",
]
