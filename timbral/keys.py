"""Every Redis key of ours: its name, type, content and life.

Keys that are a cache carry a TTL. What must not be lost, or must not be evicted while a job runs, carries none.
In front of all of them stands KEY_PREFIX, which is empty unless it is set: several fleets, or other apps, in one
database. Ids stand in key names as they are; in members and fields they are JSON, so that 1 and "1" stay two ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from timbral.config.settings import Constants, settings

__all__ = ["KEYS", "Key"]


@dataclass(frozen=True)
class Key:
    """One line of the reference: ``name`` with its placeholders, the Redis ``type``, what it holds, and how long."""

    name: str
    type: str
    content: str
    ttl: str


def _key(name: str) -> str:
    prefix = settings.KEY_PREFIX
    if "{" in name:  # of a placeholder; those of a cluster's tag stay as they are
        prefix = prefix.replace("{", "{{").replace("}", "}}")
    return prefix + name


RECOMMENDATIONS_USER = _key(f"{Constants.RECOMMENDATIONS_KEY}:user:{{user_id}}")
RECOMMENDATIONS_FILTERED = _key(f"{Constants.RECOMMENDATIONS_KEY}:filtered:{{user_id}}")
RECOMMENDATIONS_POPULAR = _key(f"{Constants.RECOMMENDATIONS_KEY}:popular")
SIMILAR_ITEM = _key("similar:item:{item_id}")
SIMILAR_VERSION = _key("similar:version")
SIMILAR_STAGED = _key("similar:staged:{version}:{name}")
EMBEDDINGS = _key("embeddings:{key}")
USER_EMBEDDINGS = Constants.USER_EMBEDDINGS_KEY
ITEM_EMBEDDINGS = Constants.ITEM_EMBEDDINGS_KEY

MODEL_CURRENT = _key("model:current")
MODEL_METADATA = _key("model:{version}:metadata")
MODEL_VERSIONS = _key("model:versions")
MODEL_FENCE = _key("model:fence")
MODEL_PROMOTED_FENCE = _key("model:promoted_fence")
MODEL_TRAININGS = _key("model:trainings")
MODEL_HISTORY = _key("model:history")
MODEL_REVISIONS = _key("model:revisions")
MODEL_RETIRED = _key("model:retired")
TRAININGS_ENDED = _key("metrics:trainings")

PLAYS_USER = _key("plays:user:{user_id}")
PLAYS_USERS = _key("plays:users")
PLAYS_ADDED = _key("plays:added:{life_s}:")
PLAYS_STREAM = _key("plays:stream")
PLAYS_ARCHIVED = _key("plays:archived")
PLAYS_ARCHIVING = _key("plays:archiving")
PLAYS_TIDIED = _key("plays:tidied")
PLAYS_COUNTS = _key("plays:counts")
PLAYS_IMPORTS = _key("plays:imports")
PLAYS_EVENTS = _key("plays:events:")
PLAYS_LISTED = _key("plays:listed")
PLAYS_REFRESH = _key("plays:refresh")
PLAYS_REFRESHING = _key("plays:refreshing")
PLAYS_REFRESH_SENT = _key("plays:refresh_sent")
PLAYS_REFRESH_ATTEMPTS = _key("plays:refresh_attempts")
BLOCKS_USER = _key("blocks:user:{user_id}")
BLOCKS_ITEMS = _key("blocks:items")
ITEMS_NAMES = _key("items:names")
ITEMS_GROUPS = _key("items:groups")
ITEM_SETS = _key("items:sets")
ITEM_SET = _key("items:set:{name}")

FORGOTTEN_SALT = _key("forgotten:salt")
FORGOTTEN_USERS = _key("forgotten:users")
FORGOTTEN_RECEIPT = _key("forgotten:receipt:{task_id}")
EXPORT = _key("export:{task_id}")

TRAIN_ANSWERS = _key("train:{training}:answers")
TRAIN_DRIVEN = _key("train:{training}:driven")
TUNING_JOURNAL = _key("tuning:journal:{job_id}")
TUNING_DATASET = _key("tuning:dataset:{dataset}")
TUNING_HISTORY = _key("tuning:history")

JOB = _key("job:{job_id}")
JOB_CHUNKS = _key("job:{job_id}:chunks")
JOBS_OPEN = _key("jobs:open")
JOBS_ENDED = _key("jobs:ended")
PROGRESS = _key("progress:{task_id}")
SUBMITTED = _key("tasks:submitted")
ONCE = _key("once:{digest}")
ONCE_FOLLOWERS = _key("once:{digest}:followers")
ONCE_OPEN = _key("once:open")
RESCUE_LOCK = _key("rescue:lock")
RESCUE_CURSOR = _key("rescue:cursor")
DELIVERIES = _key("deliveries:{task_id}")
WORK = _key("tasks:work:{task_id}")
TOLD = _key("tasks:told:{task_id}")
DEAD_LETTERS = _key("dead_letters")
DEAD_LETTERS_GARBAGE = _key("dead_letters_garbage")
DEAD_LETTER = _key("dead_letters:{letter_id}")
UNACKED_LOOKS = _key("unacked_looks")
WORKERS = _key("worker:alive")
SCHEDULE = _key("schedule")
SCHEDULE_LOCK = _key("schedule:lock")

KEYS: tuple[Key, ...] = (
    Key(RECOMMENDATIONS_USER, "string", 'JSON list, best first: [{"item_id": …, "score": …}, …]', "RECOMMENDATIONS_TTL_S"),
    Key(RECOMMENDATIONS_FILTERED, "hash", 'a user\'s lists from some items alone: allow=…&exclude=…, names of item sets → JSON object with "items" and what they were made of', "RECOMMENDATIONS_TTL_S after the last one"),
    Key(RECOMMENDATIONS_POPULAR, "string", "the same, of what most users play; for a user nobody knows", "RECOMMENDATIONS_TTL_S"),
    Key(SIMILAR_ITEM, "string", "the same, of the items most like this one", "RECOMMENDATIONS_TTL_S"),
    Key(SIMILAR_VERSION, "string", "the model version that the similar and popular lists are of", "RECOMMENDATIONS_TTL_S"),
    Key(SIMILAR_STAGED, "string", "a list of a version that is about to go live: it gets its name with it", "RECOMMENDATIONS_TTL_S"),
    Key(_key("embeddings:user_embeddings"), "string", "pickle of plain data: all users' ids and factors, or the list of its shards", "EMBEDDINGS_TTL_S"),
    Key(_key("embeddings:item_embeddings"), "string", "the same for the items", "EMBEDDINGS_TTL_S"),
    Key(_key("embeddings:user:{user_id}"), "string", 'pickle of plain data: {"model_version": …, "vector": float32 (n_components,)}', "EMBEDDINGS_TTL_S"),
    Key(MODEL_CURRENT, "string", "the version that is live", "none"),
    Key(MODEL_METADATA, "string", "JSON object: shape, parameters, metrics, durations, file of a version", "none"),
    Key(MODEL_VERSIONS, "zset", "versions, scored by their fence: the order in which trainings began", "none"),
    Key(MODEL_FENCE, "string", "counter of trainings", "none"),
    Key(MODEL_PROMOTED_FENCE, "string", "highest fence that went live: an older training cannot replace it", "none"),
    Key(MODEL_TRAININGS, "hash", "task id → JSON: the version and fence that a training got, and its answer when done", "none"),
    Key(MODEL_HISTORY, "list", "versions that were live, the newest first: what a roll back goes back to", "none"),
    Key(MODEL_REVISIONS, "hash", "version → how often its file was rewritten without forgotten users: who has mapped an older one maps it anew", "none"),
    Key(MODEL_RETIRED, "set", "versions that were removed, until their files are gone, too", "none"),
    Key(TRAININGS_ENDED, "hash", "how a training ended that did not fail (promoted, held_back, not_asked) → how many did", "none"),
    Key(PLAYS_STREAM, "stream", 'recorded plays that the history has not got yet: "plays", a JSON list of [user, item, plays, time in µs], and "total", how many were recorded with them', "none; cut where the history has them"),
    Key(PLAYS_USER, "list", "new plays of a user that the live model was not trained on: id in the stream, space, JSON list of item, plays, time in µs", "none"),
    Key(PLAYS_USERS, "set", "ids (JSON) of the users with new plays", "none"),
    Key(PLAYS_ADDED + "{n}", "set", "calls (life_s: 2 min) and messages (RESULT_EXPIRES_S) that have recorded plays in the n-th life_s: a second try records nothing", "none; a second when the last two are newer"),
    Key(PLAYS_EVENTS + "{n}", "set", "event ids of plays recorded in the n-th EVENT_ID_WINDOW_S", "none; a second when the last two are newer"),
    Key(PLAYS_COUNTS, "hash", "plays recorded, duplicates left out, plays of items that the live model does not know: since the beginning; the newest window of what was recorded", "none"),
    Key(PLAYS_ARCHIVED, "hash", "how far the stream is in the history: id of the entry, plays recorded up to it, the table's version, when (seconds)", "none"),
    Key(PLAYS_ARCHIVING, "string", "the worker that moves plays into the history right now", "30 s"),
    Key(PLAYS_TIDIED, "string", "that the history was compacted and vacuumed", "an hour"),
    Key(PLAYS_IMPORTS, "hash", "id of an import of a file into the history → JSON: the file's name, how far it is, rows written and left out, or why it was refused; the last 20", "30 days"),
    Key(PLAYS_LISTED, "hash", "key of a list → id in the stream of the newest play that it knows of: an older one does not replace it", "none"),
    Key(PLAYS_REFRESH, "zset", "ids (JSON) of the users whose lists do not know of all their plays, scored by since when (seconds)", "none"),
    Key(PLAYS_REFRESHING, "zset", "those of them whom a worker refreshes right now, scored by until when (seconds)", "none"),
    Key(PLAYS_REFRESH_ATTEMPTS, "hash", "ids (JSON) of the users whose refresh was lost with its worker → how often", "none"),
    Key(PLAYS_REFRESH_SENT, "string", "that a refresh_played message waits", "10 s"),
    Key(BLOCKS_USER, "set", "ids (JSON) of the items that a user must not get", "none"),
    Key(BLOCKS_ITEMS, "set", "ids (JSON) of the items that nobody must get", "none"),
    Key(ITEMS_GROUPS, "hash", "which artist, album or series an item is of, written by the app, for at most n of one in a list: item id (JSON) → text", "none"),
    Key(ITEM_SETS, "hash", "item sets by name, written by put_item_set → JSON object: version, number of items, when (seconds)", "none"),
    Key(ITEM_SET, "set", "ids (JSON) of the items in a set", "none; 10 min while it is written, under a name of its own"),
    Key(ITEMS_NAMES, "hash", "names for people to read, written by the app: item id (JSON) → text", "none"),
    Key(FORGOTTEN_SALT, "string", "what the hashes of forgotten users are salted with", "none"),
    Key(FORGOTTEN_USERS, "set", "salted hashes of the users who were forgotten: nothing that arrives late brings them back", "none"),
    Key(FORGOTTEN_RECEIPT, "hash", "what a forget_users task has removed so far", "RESULT_EXPIRES_S"),
    Key(EXPORT, "string", "JSON object: what an export_user task found, until the caller has read it", "600 s"),
    Key(TRAIN_ANSWERS, "list", "JSON objects: the blocks of a training on the fleet that are done, until its trainer has read them", "an hour"),
    Key(TRAIN_DRIVEN, "string", "that a trainer reads them", "a day, at most as long as the training"),
    Key(TUNING_JOURNAL, "list", "the trials of a search, as JSON lines that Optuna writes", "RESULT_EXPIRES_S from the last line on"),
    Key(TUNING_DATASET, "string", "JSON object: the settings that a search found for a data set, and what they were worth", "none"),
    Key(TUNING_HISTORY, "string", "the same for the history of plays", "none"),
    Key(JOB, "hash", "a fanned-out job: its task, state, total, done, arguments, model version, times", "none while it runs, then RESULT_EXPIRES_S"),
    Key(JOB_CHUNKS, "set", "numbers of the chunks that are still to be done", "none"),
    Key(JOBS_OPEN, "zset", "ids of the jobs that run, scored by when they last moved (seconds)", "none"),
    Key(JOBS_ENDED, "list", "JSON objects of the jobs that ended last, the newest first: id, task, state, when, what was asked where that names no user", "none; the newest 500"),
    Key(PROGRESS, "hash", "done, total and text of a task that runs", "RESULT_EXPIRES_S"),
    Key(SUBMITTED, "hash", "task id → what was sent, until its effect is there", "none"),
    Key(ONCE, "hash", "the task that does a request, what was asked, and the result when done", "none while it runs, then an hour"),
    Key(ONCE_FOLLOWERS, "set", "ids of the tasks that asked the same and wait for its result", "none"),
    Key(ONCE_OPEN, "zset", "digests of the requests that are being done, scored by when to look after them (seconds)", "none"),
    Key(RESCUE_LOCK, "string", "the worker that looks after lost work right now", "RESTORE_INTERVAL_S"),
    Key(RESCUE_CURSOR, "string", "where the next look through what was submitted begins", "none"),
    Key(DELIVERIES, "set", "deliveries of a message at which its work was begun", "until it is done, 7 days at most"),
    Key(WORK, "hash", "which work a foreign sender's task id is: used again for another message, it is other work", "8 days"),
    Key(TOLD, "string", "that the successors of a task (chain, links, chord) were sent, by whoever did its work", "RESULT_EXPIRES_S"),
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


def recommendations_filtered(user_id: int | str) -> str:
    """Key of a user's lists from some items alone."""
    return RECOMMENDATIONS_FILTERED.format(user_id=user_id)


def item_set(name: str) -> str:
    """Key of the items of a set."""
    return ITEM_SET.format(name=name)


def similar_item(item_id: int | str) -> str:
    """Key of the items most like an item."""
    return SIMILAR_ITEM.format(item_id=item_id)


def similar_staged(version: str, name: str) -> str:
    """Key of a list that gets its name when its version goes live."""
    return SIMILAR_STAGED.format(version=version, name=name)


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


def plays_added(life_s: int) -> str:
    """What the keys begin with of what was recorded, and is known for ``life_s`` seconds."""
    return PLAYS_ADDED.format(life_s=life_s)


def blocks_user(user_id: int | str) -> str:
    """Key of the items that a user must not get."""
    return BLOCKS_USER.format(user_id=user_id)


def of_user(user_id: int | str) -> list[str]:
    """The keys that hold something of one user alone."""
    return [
        recommendations_user(user_id),
        recommendations_filtered(user_id),
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


def train_answers(training: str) -> str:
    """Key of the blocks of a training that the fleet has done."""
    return TRAIN_ANSWERS.format(training=training)


def train_driven(training: str) -> str:
    """Key of the mark that somebody waits for a training's blocks."""
    return TRAIN_DRIVEN.format(training=training)


def tuning_journal(job_id: str) -> str:
    """Key of the trials of a search."""
    return TUNING_JOURNAL.format(job_id=job_id)


def tuning(dataset: str | None) -> str:
    """Key of the settings that were found for a data set, or for the history of plays (None)."""
    return TUNING_HISTORY if dataset is None else TUNING_DATASET.format(dataset=dataset)


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
    """Key of the deliveries at which a message's work was begun."""
    return DELIVERIES.format(task_id=task_id)


def work(task_id: str) -> str:
    """Key of which work a task id is."""
    return WORK.format(task_id=task_id)


def told(task_id: str) -> str:
    """Key of the mark that a task's successors were sent."""
    return TOLD.format(task_id=task_id)


def dead_letter(letter_id: str) -> str:
    """Key of a parked message."""
    return DEAD_LETTER.format(letter_id=letter_id)


def encode_id(original_id: int | str) -> str:
    """An id as a member or a field: JSON, so that 1 and "1" differ."""
    return str(original_id) if type(original_id) is int else json.dumps(original_id, ensure_ascii=False)


def decode_id(member: str | bytes) -> int | str:
    """The id that ``encode_id`` made a member of."""
    decoded: int | str = json.loads(member)
    return decoded
