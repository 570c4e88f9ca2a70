"""StoredData: all that is stored of a user, wherever it is, to be removed or to be told.

Its parts, from the fastest to forget to the slowest: the cache, the messages, the records, the history, the versions of
the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis
import structlog

from timbral.engines.checkpoint_files import checkpoint_archive, checkpoint_folder, remove_orphans
from timbral.erasure.bookkeeping import Bookkeeping
from timbral.erasure.cached_data import CachedData
from timbral.erasure.messages_held import MessagesHeld
from timbral.erasure.receipt import Receipt
from timbral.erasure.recorded_plays import RecordedPlays
from timbral.erasure.subject import Subject
from timbral.errors import ModelFileError, ModelNotFoundError, ModelStoreError
from timbral.lists.forgotten import Forgotten, pseudonym
from timbral.messages import Id, utc_now
from timbral.versions.model_store import ModelStore
from timbral.versions.unrecorded_files import remove_from_unrecorded

__all__ = ["StoredData"]

logger = structlog.get_logger(__name__)

OnProgress = Callable[[int, int, str], None]


class StoredData:
    """One fleet's, as one task sees it.

    Args:
        records: the Redis of the cache and the records.
        broker: the Redis of the queue and the results.
        store: the versions of the model.
        task_id: of the task that asks; its own message and records are left alone.
    """

    def __init__(self, records: redis.Redis, broker: redis.Redis, store: ModelStore, task_id: str) -> None:
        self.store = store
        self.task_id = task_id
        self.forgotten = Forgotten(records)
        self.cached = CachedData(records)
        self.messages = MessagesHeld(broker, task_id)
        self.bookkeeping = Bookkeeping(records, broker, task_id)
        self.recorded = RecordedPlays(records)
        self.receipt = Receipt(records, task_id)

    def forget_in_redis(self, user_ids: Sequence[Id]) -> Subject:
        """Keep these users out from now on, and remove what Redis holds of them. May be done again, which removes what
        came late."""
        subject = Subject(self.forgotten.add(user_ids))
        self.cached.remove(subject, self.receipt)
        self.cached.exports(subject, self.receipt)
        self.messages.redact(subject, self.receipt)
        self.bookkeeping.redact(subject, self.receipt)
        return subject

    def forget(self, user_ids: Sequence[Id], on_progress: OnProgress) -> dict[str, Any]:
        """Remove all of theirs; gives the receipt. Done again after a worker was lost, it finishes what is left.

        Raises:
            HistoryError, ModelStoreError, ModelFileError: a file cannot be rewritten; it is the task's to fail or to be
                tried again.
        """
        versions = self.store.versions()
        n_steps = len(versions) + 3
        on_progress(0, n_steps, "Redis")
        subject = self.forget_in_redis(user_ids)
        on_progress(1, n_steps, "the history")
        self.receipt.add("history_plays", self.recorded.delete(subject.ids))
        # Factors of theirs, if of no name; a training that is going on writes others, and takes them along at its end.
        remove_orphans(checkpoint_folder(self.store.model_dir), 0.0, checkpoint_archive())
        problems = []
        for place, version in enumerate(versions):
            on_progress(2 + place, n_steps, f"model version {version}")
            try:
                self._forget_in_version(version, subject)
            except (ModelFileError, ModelStoreError) as error:  # the others come first
                problems.append(error)
        try:
            self.receipt.add("model_rows", remove_from_unrecorded(self.store, subject.ids))
        except (ModelFileError, ModelStoreError) as error:
            problems.append(error)
        # Once more: whoever had asked just before the hash was noted has written by now what they were about to write.
        on_progress(n_steps - 1, n_steps, "Redis once more")
        self.forget_in_redis(user_ids)
        if problems:
            raise problems[0]
        receipt = self._receipt(subject, versions)
        on_progress(n_steps, n_steps, "done")
        logger.info("forgotten", users=len(subject.digests), removed=receipt["removed"])
        return receipt

    def export(self, user_id: Id) -> dict[str, Any]:
        """All that is stored of one user, as JSON data."""
        subject = Subject({str(user_id): ""})
        return {
            "user_id": user_id,
            "exported_at": utc_now(),
            "is_forgotten": bool(self.forgotten.among([user_id])),
            **self.cached.of(user_id),
            "on_their_way": self.messages.theirs(subject),
            "history": self.recorded.of(subject.ids),
            "models": [found for version in self.store.versions() if (found := self._in_version(version, subject))],
        }

    def _forget_in_version(self, version: str, subject: Subject) -> None:
        try:
            n_rows = self.store.remove_forgotten(version, subject.ids)
        except ModelNotFoundError:  # pruned meanwhile, or its file is gone: there is nothing to rewrite
            logger.warning("no file to rewrite", version=version)
            return
        self.receipt.add("model_rows", n_rows)
        self.receipt.add("model_files", int(n_rows > 0))

    def _in_version(self, version: str, subject: Subject) -> dict[str, Any] | None:
        try:
            served = self.store.get(version)
        except (ModelNotFoundError, ModelFileError):
            return None
        codes = [code for code in served.user_ids.codes(subject.ids).tolist() if code >= 0]
        if not codes:
            return None
        row = slice(served.seen.indptr[codes[0]], served.seen.indptr[codes[0] + 1])
        played = zip(served.item_ids.ids(served.seen.indices[row]), served.seen.data[row].tolist(), strict=True)
        return {
            "version": version,
            "plays": [{"item_id": item_id, "plays": plays} for item_id, plays in played],
            "vector": served.model.get_user_embeddings(codes[:1])[0].tolist(),
        }

    def _receipt(self, subject: Subject, versions: Sequence[str]) -> dict[str, Any]:
        """Names nobody: it is a task's result, and stays for a day."""
        records = [record for record in self.store.list() if record["version"] in versions]
        return {
            "users": len(subject.digests),
            "removed": {what: n for what, n in self.receipt.read().items() if n},
            "kept": [pseudonym(digest) for digest in subject.digests.values()],
            "data_sets": sorted({str(record["dataset"]) for record in records if record.get("dataset")}),
            "forgotten_at": utc_now(),
        }
