"""ModelStore: the versions of the model, which of them is live, and the one copy of it that a process has mapped.

A version is ``YYYYMMDDTHHMMSS-<fence>``. The fence counts trainings in the order in which they began; what is live
never moves to a lower fence by itself, so a slow, older training cannot replace a newer model. An operator can move it
back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import redis
import structlog

from timbral import keys
from timbral.config.settings import settings
from timbral.errors import ModelFileError, ModelNotFoundError, ParameterError, TimbralError
from timbral.lists.forgotten import Forgotten
from timbral.messages import Id
from timbral.redis_server.replies import text, texts
from timbral.versions import model_scripts as scripts
from timbral.versions.item_lists import ItemLists
from timbral.versions.model_files import ModelFiles
from timbral.versions.row_removal import without_rows
from timbral.versions.served_model import ServedModel
from timbral.versions.trainings import Trainings

__all__ = ["ModelStore", "Promotion"]

logger = structlog.get_logger(__name__)

Promotion = Literal["live", "stale"]
Names = list[str]
Records = list[dict[str, Any]]
LOOK_AGAIN_S = 30.0
"""A current version whose file could not be read is tried again after this long."""


class ModelStore:
    """The versions in ``model_dir`` and their records in Redis.

    Args:
        redis_client: the Redis of the records.
        model_dir: folder of the files, shared by all workers.
        n_threads: threads of a model's work in this process; ``settings.N_THREADS`` where None.
        archive_uri: where the files are kept too, for hosts that do not share ``model_dir``;
            ``settings.MODEL_ARCHIVE_URI`` where None.

    Attributes:
        trainings: which of them were given which version.
        files: the versions' ModelFiles.
    """

    def __init__(
        self,
        redis_client: redis.Redis,
        model_dir: Path,
        n_threads: int | None = None,
        archive_uri: str | None = None,
    ) -> None:
        self.redis = redis_client
        self.trainings = Trainings(redis_client)
        self.n_threads = n_threads
        self.files = ModelFiles(
            Path(model_dir), archive_uri or settings.MODEL_ARCHIVE_URI, n_threads, known=self.versions
        )
        self._lists = ItemLists(redis_client)
        self._served: ServedModel | None = None
        self._other: ServedModel | None = None
        self._instead_of: str | None = None
        self._look_again_at = 0.0
        self._promote = redis_client.register_script(scripts.PROMOTE)
        self._roll_back = redis_client.register_script(scripts.ROLL_BACK)
        self._retire = redis_client.register_script(scripts.RETIRE)
        self._publish = redis_client.register_script(scripts.PUBLISH_REVISION)

    @property
    def model_dir(self) -> Path:
        """The folder of the files."""
        return self.files.folder

    # Training

    def written(self, version: str) -> ServedModel | None:
        """The version of a training that is written, record and file; None before, and where it cannot be read."""
        if self.redis.zscore(keys.MODEL_VERSIONS, version) is None:
            return None
        try:
            return self.files.read(version)
        except (ModelFileError, ModelNotFoundError) as error:
            logger.warning("a written version cannot be read", version=version, problem=str(error))
            return None

    def write(self, served: ServedModel) -> None:
        """Write the version's file and then its record; it is not live yet.

        Raises:
            ModelStoreError: disk full, no permission, …; nothing changed.
        """
        self.files.write(served)
        self.files.archived(served.version)
        with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.set(keys.model_metadata(served.version), json.dumps(served.record))
            pipeline.zadd(keys.MODEL_VERSIONS, {served.version: _fence(served.version)})
            pipeline.srem(keys.MODEL_RETIRED, served.version)
            pipeline.execute()

    # What is live

    def promote(self, version: str, *, force: bool = False) -> Promotion:
        """Make ``version`` live, in one step with its lists of similar and popular items; "stale" where a training that
        began later is, or was, live. Done again for the live one, it renews the lists.

        ``force`` is an operator's: it may go back, and keeps the mark that holds older trainings off. The file is then
        checked first, every byte of it.

        Raises:
            ModelNotFoundError: no such version.
            ModelFileError: ``force``, and its file is damaged.
        """
        if force:
            self._check(version)
        lists = self._put_aside(version)
        known = [keys.MODEL_CURRENT, keys.MODEL_PROMOTED_FENCE, keys.MODEL_VERSIONS, keys.MODEL_HISTORY]
        outcome = text(self._promote(keys=known, args=[version, int(force), keys.similar_staged(version, ""), *lists]))
        if outcome != "live":
            self._lists.drop(version, lists)
        if outcome == "unknown":
            raise ModelNotFoundError(version)
        logger.info("promotion", version=version, outcome=outcome, force=force)
        return "stale" if outcome == "stale" else "live"

    def _put_aside(self, version: str) -> Names:
        """Names of the version's lists, which wait for it to go live; without them it goes live all the same."""
        try:
            held = next(
                (one for one in (self._served, self._other) if one is not None and one.version == version), None
            )
            return self._lists.put_aside(held or self.files.read(version))
        except (ModelFileError, ModelNotFoundError) as error:
            logger.warning("lists of similar and popular items are not written", version=version, problem=str(error))
            return []

    def roll_back(self) -> str:
        """Make the version live again that was live before; gives its name. The next roll back goes further back.

        Raises:
            ModelNotFoundError: nothing was live before.
            ModelFileError: that version's file is damaged.
        """
        known = [keys.MODEL_CURRENT, keys.MODEL_VERSIONS, keys.MODEL_HISTORY]
        target = text(self._roll_back(keys=known, args=[""]))
        if not target:
            raise ModelNotFoundError("a version to roll back to: none was live before the current one")
        self._check(target)
        switch = [keys.similar_staged(target, ""), *self._put_aside(target)]
        if text(self._roll_back(keys=known, args=[target, *switch])) != target:
            raise ParameterError("the current model changed while it was rolled back: look again, then repeat")
        logger.warning("rolled back", version=target)
        return target

    def current_version(self) -> str | None:
        """The version that is live, None before the first."""
        return text(self.redis.get(keys.MODEL_CURRENT)) or None

    def current(self, live: tuple[str, dict[str, str]] | None = None) -> ServedModel:
        """The live model, mapped. Costs one question while it stays the same; a new version, or a new revision of it,
        is taken up, the old one let go.

        Args:
            live: the version that is live and the revisions of all, where the caller has just asked for them.

        Where its file cannot be read, the version that was live before and can be read is served, by all workers the
        same.

        Raises:
            ModelNotFoundError: no version is live, or no file of any version is there.
            ModelFileError: the current file is damaged, and there is no other one.
        """
        version, revisions = self.live() if live is None else live
        if not version:
            raise ModelNotFoundError(f"{keys.MODEL_CURRENT}: no version is live yet, send train_model first")
        self._let_go_of_older(revisions)
        if self._served is not None and self._served.version == version:
            return self._served
        if self._served is not None and self._instead_of == version and time.monotonic() < self._look_again_at:
            return self._served
        try:
            self._served, self._instead_of = self.files.read(version), None
            logger.info("model loaded", version=version)
        except (ModelFileError, ModelNotFoundError) as error:
            # Not what happens to be mapped here: other workers may have something else.
            self._served = self._readable_instead(version, error)
            self._instead_of, self._look_again_at = version, time.monotonic() + LOOK_AGAIN_S
            logger.error("model cannot be read", version=version, served=self._served.version, problem=str(error))
        return self._served

    def live(self) -> tuple[str, dict[str, str]]:
        """The version that is live, "" before the first, and the revisions of all: what ``current`` asks for."""
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.get(keys.MODEL_CURRENT)
            pipeline.hgetall(keys.MODEL_REVISIONS)
            live, revisions = pipeline.execute()
        return text(live), texts(revisions)

    def get(self, version: str) -> ServedModel:
        """One version, mapped: that of a job that goes on while another one went live."""
        self._let_go_of_older(texts(self.redis.hgetall(keys.MODEL_REVISIONS)))
        for held in (self._served, self._other):
            if held is not None and held.version == version:
                return held
        if version == self.current_version() and self._instead_of is None:
            return self.current()
        self._other = self.files.read(version)
        return self._other

    # Forgetting users

    def remove_forgotten(self, version: str, user_ids: Sequence[Id]) -> int:
        """Rewrite a version's file, and its copy in the archive, without the forgotten ``user_ids``; returns how many
        it knew.

        Who has mapped the file takes up the new one at its next question.

        Raises:
            ModelNotFoundError: the version was pruned, or its file is not here.
            ModelFileError: its file is damaged.
            ModelStoreError: it cannot be written; nothing changed.
        """
        n_removed, wanted = 0, list(user_ids)
        with self.files.rewriting():
            while True:
                self._let_go_of_older(texts(self.redis.hgetall(keys.MODEL_REVISIONS)))
                before = served = self.files.read(version)
                known = int(text(self.redis.hget(keys.MODEL_REVISIONS, version)) or 0)
                is_old = before.revision < known  # somebody put a file back that was rewritten since
                if is_old:
                    wanted = list(Forgotten(self.redis).among(list(served.user_ids)))
                codes = np.unique(served.user_ids.codes(wanted))
                codes = codes[codes >= 0]
                if len(codes) or is_old:
                    served = without_rows(served, codes, max(known, before.revision) + 1)
                    self.files.write(served)
                    n_removed += len(codes)
                if not served.revision:
                    return n_removed
                # Also where nothing changed now: a process that was killed may have written the file and said nothing
                # of it.
                self.files.archived(version)
                places = [keys.MODEL_REVISIONS, keys.MODEL_VERSIONS]
                read = max(known, before.revision)
                outcome = text(self._publish(keys=places, args=[version, read, served.revision]))
                if outcome == "gone":
                    self._remove_files(version)
                if outcome != "conflict":
                    return n_removed
                # A host that shares no folder with this one rewrote it too, and its users are in what was written here.
                wanted = list(Forgotten(self.redis).among(list(served.user_ids)))

    def _let_go_of_older(self, revisions: dict[str, str]) -> None:
        """Drop what this process has mapped, and what this host has fetched, where the version was rewritten since."""
        for held in (self._served, self._other):
            if held is not None and held.revision < int(revisions.get(held.version, 0)):
                logger.info("model was rewritten", version=held.version)
                self._served = None if held is self._served else self._served
                self._other = None if held is self._other else self._other
        self.files.remove_rewritten(revisions)

    def _readable_instead(self, version: str, error: TimbralError) -> ServedModel:
        """What is served where ``version`` cannot be read: the same by all workers, the version that can be read and
        was live last, else the newest older one, else what is mapped here."""
        were_live = [text(one) for one in self.redis.lrange(keys.MODEL_HISTORY, 0, -1)]
        older = [one for one in self.versions() if _fence(one) < _fence(version)]
        for other in dict.fromkeys([*were_live, *older]):
            if other == version:
                continue
            if self._served is not None and self._served.version == other:
                return self._served
            try:
                return self.files.read(other)
            except (ModelFileError, ModelNotFoundError):
                continue
        if self._served is None:
            raise error
        return self._served

    def _check(self, version: str) -> None:
        if self.redis.zscore(keys.MODEL_VERSIONS, version) is None:
            raise ModelNotFoundError(version)
        self.files.read(version, verify=True)

    # Records

    def versions(self) -> Names:
        """All versions, the newest training first."""
        return [text(version) for version in self.redis.zrevrange(keys.MODEL_VERSIONS, 0, -1)]

    def list(self) -> Records:
        """The records of all versions, the newest training first, each with ``version`` and ``live``."""
        versions = self.versions()
        if not versions:
            return []
        records = self.redis.mget([keys.model_metadata(version) for version in versions])
        live = self.current_version()
        return [
            json.loads(text(record) or "{}") | {"version": version, "live": version == live}
            for version, record in zip(versions, records, strict=True)
        ]

    def show(self, version: str) -> dict[str, Any]:
        """The record of one version.

        Raises:
            ModelNotFoundError: no such version.
        """
        if self.redis.zscore(keys.MODEL_VERSIONS, version) is None:
            raise ModelNotFoundError(version)
        record: dict[str, Any] = json.loads(text(self.redis.get(keys.model_metadata(version))) or "{}")
        return record | {"version": version, "live": version == self.current_version()}

    def prune(self, keep: int) -> Names:
        """Remove all but the ``keep`` newest of the versions that were live, and as many of those that were not;
        returns the names of those that went.

        The current version stays, the one that a roll back would go to, those that an open job works with, and those
        whose training has not ended: it may be about to put its version live.
        """
        if keep < 1:
            raise ParameterError(f"keep must be 1 or more, got {keep}")
        were_live = {text(version) for version in self.redis.lrange(keys.MODEL_HISTORY, 0, -1)}
        versions = self.versions()
        going_on = self.trainings.going_on()
        kinds = [v for v in versions if v in were_live], [v for v in versions if v not in were_live]
        for version in self.redis.smembers(keys.MODEL_RETIRED):  # whoever removed it was killed at it
            self._remove_files(text(version))
        gone = []
        for version in [old for kind in kinds for old in kind[keep:] if old not in going_on]:
            if self._retired(version):
                self._remove_files(version)
                gone.append(version)
        for version in self.trainings.forget_old():
            if self.redis.zscore(keys.MODEL_VERSIONS, version) is None:  # it may have left a file
                self.files.remove(version)
        if gone:
            logger.info("pruned", versions=gone, keep=keep)
        return gone

    def remove(self, version: str) -> bool:
        """Remove one version. False where it stays: it is live, a roll back would go to it, or a job works with it.

        Raises:
            ModelNotFoundError: no such version.
        """
        if self.redis.zscore(keys.MODEL_VERSIONS, version) is None:
            raise ModelNotFoundError(version)
        if not self._retired(version):
            return False
        self._remove_files(version)
        logger.info("removed", version=version)
        return True

    def _retired(self, version: str) -> bool:
        known = [keys.MODEL_CURRENT, keys.MODEL_VERSIONS, keys.MODEL_HISTORY, keys.JOBS_OPEN, keys.MODEL_RETIRED]
        return bool(self._retire(keys=known, args=[version, keys.job("")]))

    def _remove_files(self, version: str) -> None:
        self.files.remove(version)
        self.redis.delete(keys.model_metadata(version))
        self.redis.hdel(keys.MODEL_REVISIONS, version)
        self.redis.srem(keys.MODEL_RETIRED, version)


def _fence(version: str) -> int:
    return int(version.rpartition("-")[2])
