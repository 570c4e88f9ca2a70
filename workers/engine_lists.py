"""Lists of everybody that an engine makes, and that the fleet then writes into the cache.

They wait in a store of the job's own, below TRAIN_STORE_URI, until the job has ended.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog

from timbral.config.settings import settings
from timbral.config.train_engine import url_problem
from timbral.engines import stores
from timbral.engines.block_store import BlockStore
from timbral.errors import ParameterError
from timbral.extras import require
from timbral.messages import ComputeRecommendations
from timbral.versions.fresh_lists import DEPTH
from timbral.versions.served_model import ServedModel
from workers import resources

if TYPE_CHECKING:
    from timbral.engines.made_lists import MadeLists

__all__ = ["forget", "made_for", "make"]

logger = structlog.get_logger(__name__)


def make(job_id: str, message: ComputeRecommendations, served: ServedModel) -> None:
    """Have the lists made, where the message names an engine that does.

    Raises:
        ParameterError: the engine needs what is not installed, or a URL that is not given.
        TrainingError: the engine has failed.
    """
    engine, url = message.engine, settings.TRAIN_ENGINE_URL
    if engine not in ("ray", "spark"):
        return
    require(f"the engine {engine}", engine)
    problem = url_problem(engine, url)
    if problem is not None:
        raise ParameterError(f"the engine {engine}: {problem}")
    # Imported here: who reads no such lists does without parquet.
    from timbral.engines.made_lists import make_all
    from timbral.engines.ray_run import on_ray
    from timbral.engines.spark_session import on_spark

    stores.remove_old()
    fresh = (message.max_per_group, settings.MAX_PER_GROUP), (message.exploration_share, settings.EXPLORATION_SHARE)
    is_fresh = any(default if asked is None else asked for asked, default in fresh)
    hidden = served.codes_of_items(resources.overlay().blocked_items())
    try:
        make_all(
            _store(job_id),
            resources.store().files.path(served.version),
            served,
            # What is picked from comes from further down.
            top_k=min(message.top_k * (DEPTH if is_fresh else 1), len(served.item_ids)),
            exclude_seen=message.exclude_seen,
            blocked=np.empty(0, np.int32) if hidden is None else hidden,
            chunk_rows=settings.CHUNK_SIZE,
            n_parts=settings.TRAIN_BLOCKS,
            everywhere=partial(on_ray, url) if engine == "ray" else partial(on_spark, url or ""),
        )
    except BaseException:
        forget(job_id)
        raise


def made_for(job_id: str, version: str) -> MadeLists | None:
    """The lists that were made for a job; None where there are none, seen from this host."""
    # As in make.
    from timbral.engines.made_lists import MadeLists

    try:
        made = MadeLists.open(_store(job_id))
    except (OSError, ValueError):
        logger.warning("lists of an engine are not seen here, and made once more", job=job_id)
        return None
    return made if made.version == version else None


def forget(job_id: str) -> None:
    """The job has ended."""
    _store(job_id).close()


def _store(job_id: str) -> BlockStore:
    return stores.store_of(f"{stores.job_digest(job_id)}-lists")
