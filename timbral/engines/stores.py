"""Where the stores of jobs are that several processes work for: below TRAIN_STORE_URI, each under its job's digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from timbral.config.settings import settings
from timbral.engines.block_store import BlockStore, remove_old_stores
from timbral.engines.remote_store import RemoteStore
from timbral.versions.model_archive import ModelArchive, folder_below

__all__ = ["job_digest", "remove_of", "remove_old", "store_of"]


def store_of(name: str) -> BlockStore:
    """A training's store, or that of a job's lists, seen from this host."""
    if settings.train_store_is_remote:
        return RemoteStore(_uri(), name, _folder())
    return BlockStore(_folder(), name, settings.TRAIN_CACHE_DIR)


def job_digest(job_id: str) -> str:
    """A job's id as the beginning of its stores' names."""
    return hashlib.blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def remove_of(job: str) -> None:
    """Remove what an earlier delivery of a job has left, of which ``job`` is the digest."""
    names = {path.name for path in _folder().glob(f"{job}-*")}
    if settings.train_store_is_remote:
        names |= {name.partition("/")[0] for name in ModelArchive(_uri()).older(0) if name.startswith(f"{job}-")}
    for name in names:
        store_of(name).close()


def remove_old() -> None:
    """Remove what was left by jobs that were cut off and never came back."""
    age_s = 2.0 * settings.TRAIN_TIME_LIMIT_S
    remove_old_stores(_folder(), age_s)
    if settings.train_store_is_remote:
        archive = ModelArchive(_uri())
        for name in archive.older(age_s):
            archive.delete(name)


def _folder() -> Path:
    return (settings.train_store or settings.MODEL_DIR) / "blocks"


def _uri() -> str:
    return folder_below(settings.TRAIN_STORE_URI or "", "blocks")
