"""Every Redis key of ours: its name, type, content and life.

Keys that are a cache carry a TTL. What must not be lost, or must not be evicted while a job runs, carries none.
Ids stand in key names as they are; in members and fields they are JSON, so that 1 and "1" stay two ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from timbral.config.settings import Constants

__all__ = ["KEYS", "Key"]


@dataclass(frozen=True)
class Key:
    """One line of the reference: ``name`` with its placeholders, the Redis ``type``, what it holds, and how long."""

    name: str
    type: str
    content: str
    ttl: str


RECOMMENDATIONS_USER = f"{Constants.RECOMMENDATIONS_KEY}:user:{{user_id}}"
RECOMMENDATIONS_POPULAR = f"{Constants.RECOMMENDATIONS_KEY}:popular"
SIMILAR_ITEM = "similar:item:{item_id}"
SIMILAR_VERSION = "similar:version"
EMBEDDINGS = "embeddings:{key}"
USER_EMBEDDINGS = Constants.USER_EMBEDDINGS_KEY
ITEM_EMBEDDINGS = Constants.ITEM_EMBEDDINGS_KEY

MODEL_CURRENT = "model:current"
MODEL_METADATA = "model:{version}:metadata"
MODEL_VERSIONS = "model:versions"
MODEL_FENCE = "model:fence"
MODEL_PROMOTED_FENCE = "model:promoted_fence"
MODEL_TRAININGS = "model:trainings"
MODEL_HISTORY = "model:history"
MODEL_REVISIONS = "model:revisions"

PLAYS_USER = "plays:user:{user_id}"
PLAYS_USERS = "plays:users"
PLAYS_ADDED = "plays:added:{task_id}"
BLOCKS_USER = "blocks:user:{user_id}"
BLOCKS_ITEMS = "blocks:items"
ITEMS_NAMES = "items:names"

FORGOTTEN_SALT = "forgotten:salt"
FORGOTTEN_USERS = "forgotten:users"
FORGOTTEN_RECEIPT = "forgotten:receipt:{task_id}"
EXPORT = "export:{task_id}"

JOB = "job:{job_id}"
JOB_CHUNKS = "job:{job_id}:chunks"
JOBS_OPEN = "jobs:open"
PROGRESS = "progress:{task_id}"
SUBMITTED = "tasks:submitted"
ONCE = "once:{digest}"
ONCE_FOLLOWERS = "once:{digest}:followers"
ONCE_OPEN = "once:open"
SWEEP_LOCK = "sweep:lock"
DELIVERIES = "deliveries:{task_id}"
DEAD_LETTERS = "dead_letters"
DEAD_LETTERS_GARBAGE = "dead_letters_garbage"
DEAD_LETTER = "dead_letters:{letter_id}"
UNACKED_LOOKS = "unacked_looks"
WORKERS = "worker:alive"
SCHEDULE = "schedule"
SCHEDULE_LOCK = "schedule:lock"

KEYS: tuple[Key, ...] = (
    Key(RECOMMENDATIONS_USER, "string", 'JSON list, best first: [{"item_id": …, "score": …}, …]', "RECOMMENDATIONS_TTL_S"),
    Key(RECOMMENDATIONS_POPULAR, "string", "the same, of what most users play; for a user nobody knows", "RECOMMENDATIONS_TTL_S"),
    Key(SIMILAR_ITEM, "string", "the same, of the items most like this one", "RECOMMENDATIONS_TTL_S"),
    Key(SIMILAR_VERSION, "string", "the model version that the similar and popular lists are of", "RECOMMENDATIONS_TTL_S"),
    Key("embeddings:user_embeddings", "string", "pickle of plain data: all users' ids and factors, or the list of its shards", "EMBEDDINGS_TTL_S"),
    Key("embeddings:item_embeddings", "string", "the same for the items", "EMBEDDINGS_TTL_S"),
    Key("embeddings:user:{user_id}", "string", 'pickle of plain data: {"model_version": …, "vector": float32 (n_components,)}', "EMBEDDINGS_TTL_S"),
    Key(MODEL_CURRENT, "string", "the version that is live", "none"),
    Key(MODEL_METADATA, "string", "JSON object: shape, parameters, metrics, durations, file of a version", "none"),
    Key(MODEL_VERSIONS, "zset", "versions, scored by their fence: the order in which trainings began", "none"),
    Key(MODEL_FENCE, "string", "counter of trainings", "none"),
    Key(MODEL_PROMOTED_FENCE, "string", "highest fence that went live: an older training cannot replace it", "none"),
    Key(MODEL_TRAININGS, "hash", "task id → JSON: the version and fence that a training got, and its answer when done", "none"),
    Key(MODEL_HISTORY, "list", "versions that were live, the newest first: what a roll back goes back to", "none"),
    Key(MODEL_REVISIONS, "hash", "version → how often its file was rewritten without forgotten users: who has mapped an older one maps it anew", "none"),
    Key(PLAYS_USER, "hash", "new plays of a user that no training has seen: item id (JSON) → plays", "none"),
    Key(PLAYS_USERS, "set", "ids (JSON) of the users with new plays", "none"),
    Key(PLAYS_ADDED, "hash", "parts of a message whose plays were added: a second delivery adds none", "RESULT_EXPIRES_S"),
    Key(BLOCKS_USER, "set", "ids (JSON) of the items that a user must not get", "none"),
    Key(BLOCKS_ITEMS, "set", "ids (JSON) of the items that nobody must get", "none"),
    Key(ITEMS_NAMES, "hash", "names for people to read, written by the app: item id (JSON) → text", "none"),
    Key(FORGOTTEN_SALT, "string", "what the hashes of forgotten users are salted with", "none"),
    Key(FORGOTTEN_USERS, "set", "salted hashes of the users who were forgotten: nothing that arrives late brings them back", "none"),
    Key(FORGOTTEN_RECEIPT, "hash", "what a forget_users task has removed so far", "RESULT_EXPIRES_S"),
    Key(EXPORT, "string", "JSON object: what an export_user task found, until the caller has read it", "600 s"),
    Key(JOB, "hash", "a fanned-out job: state, total, done, arguments, model version, times", "none while it runs, then RESULT_EXPIRES_S"),
    Key(JOB_CHUNKS, "set", "numbers of the chunks that are still to be done", "none"),
    Key(JOBS_OPEN, "zset", "ids of the jobs that run, scored by when they last moved (seconds)", "none"),
    Key(PROGRESS, "hash", "done, total and text of a task that runs", "RESULT_EXPIRES_S"),
    Key(SUBMITTED, "hash", "task id → what was sent, until its effect is there", "none"),
    Key(ONCE, "hash", "the task that does a request, what was asked, and the result when done", "none while it runs, then an hour"),
    Key(ONCE_FOLLOWERS, "set", "ids of the tasks that asked the same and wait for its result", "none"),
    Key(ONCE_OPEN, "zset", "digests of the requests that are being done, scored by when to look after them (seconds)", "none"),
    Key(SWEEP_LOCK, "string", "the worker that looks after lost work right now", "RESTORE_INTERVAL_S"),
    Key(DELIVERIES, "string", "how often a message was delivered", "until it is done, 7 days at most"),
    Key(DEAD_LETTERS, "zset", "ids of parked messages, scored by when (seconds)", "none"),
    Key(DEAD_LETTERS_GARBAGE, "zset", "those of them that were no proper messages: only the newest are kept", "none"),
    Key(DEAD_LETTER, "hash", "a parked message: task, arguments, body, reason, deliveries, queue", "none"),
    Key(UNACKED_LOOKS, "hash", "when a worker last looked for messages that nobody holds", "none"),
    Key(WORKERS, "zset", "node names of the workers, scored by when each last showed that it takes tasks (seconds)", "none; left out after an hour"),
    Key(SCHEDULE, "hash", "scheduled entry → when it was last sent (seconds)", "none"),
    Key(SCHEDULE_LOCK, "string", "the scheduler that is in charge", "30 s, renewed"),
)  # fmt: skip


def recommendations_user(user_id: int | str) -> str:
    """Key of a user's recommendations."""
    return RECOMMENDATIONS_USER.format(user_id=user_id)


def similar_item(item_id: int | str) -> str:
    """Key of the items most like an item."""
    return SIMILAR_ITEM.format(item_id=item_id)


def embeddings(key: str) -> str:
    """Key of the embeddings stored under ``key``."""
    return EMBEDDINGS.format(key=key)


def user_embedding_name(user_id: int | str) -> str:
    """What to pass to ``set_embeddings`` and ``get_embeddings`` for one user's vector."""
    return f"user:{user_id}"


def model_metadata(version: str) -> str:
    """Key of a version's metadata."""
    return MODEL_METADATA.format(version=version)


def plays_user(user_id: int | str) -> str:
    """Key of a user's plays that no training has seen."""
    return PLAYS_USER.format(user_id=user_id)


def plays_added(task_id: str) -> str:
    """Key of what a message has added to the plays."""
    return PLAYS_ADDED.format(task_id=task_id)


def blocks_user(user_id: int | str) -> str:
    """Key of the items that a user must not get."""
    return BLOCKS_USER.format(user_id=user_id)


def of_user(user_id: int | str) -> list[str]:
    """The keys that hold something of one user alone."""
    return [
        recommendations_user(user_id),
        embeddings(user_embedding_name(user_id)),
        plays_user(user_id),
        blocks_user(user_id),
    ]


def members_of(user_id: int | str) -> list[str]:
    """The user's id as a member, as the text and as the int that it may stand for: they share the user's keys."""
    return sorted({encode_id(user_id), encode_id(str(user_id)), str(user_id)})


def forgotten_receipt(task_id: str) -> str:
    """Key of what a forget_users task has removed so far."""
    return FORGOTTEN_RECEIPT.format(task_id=task_id)


def export(task_id: str) -> str:
    """Key of what an export_user task found."""
    return EXPORT.format(task_id=task_id)


def job(job_id: str) -> str:
    """Key of a fanned-out job."""
    return JOB.format(job_id=job_id)


def job_chunks(job_id: str) -> str:
    """Key of a job's chunks that are still to be done."""
    return JOB_CHUNKS.format(job_id=job_id)


def progress(task_id: str) -> str:
    """Key of a running task's progress."""
    return PROGRESS.format(task_id=task_id)


def once(digest: str) -> str:
    """Key of the request that is being done, by the digest of what was asked."""
    return ONCE.format(digest=digest)


def once_followers(digest: str) -> str:
    """Key of the tasks that wait for the request's result."""
    return ONCE_FOLLOWERS.format(digest=digest)


def deliveries(task_id: str) -> str:
    """Key of the count of a message's deliveries."""
    return DELIVERIES.format(task_id=task_id)


def dead_letter(letter_id: str) -> str:
    """Key of a parked message."""
    return DEAD_LETTER.format(letter_id=letter_id)


def encode_id(original_id: int | str) -> str:
    """An id as a member or a field: JSON, so that 1 and "1" differ."""
    return json.dumps(original_id, ensure_ascii=False)


def decode_id(member: str | bytes) -> int | str:
    """The id that ``encode_id`` made a member of."""
    decoded: int | str = json.loads(member)
    return decoded
