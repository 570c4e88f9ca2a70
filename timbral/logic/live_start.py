"""Where a training starts that goes on from the live model: its factors, by the ids of the new data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import structlog

from timbral.data.interactions import Interactions
from timbral.errors import ModelFileError, ModelNotFoundError
from timbral.messages import TrainModel
from timbral.models.fitting.warm_start import KnownFactors
from timbral.models.nmf_model import NMFModel
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel

__all__ = ["LiveStart", "live_start"]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LiveStart:
    """``version`` is the one whose factors are ``known``."""

    version: str
    known: KnownFactors


def live_start(store: ModelStore, message: TrainModel, data: Interactions) -> LiveStart | None:
    """What a training with ``warm_start`` starts from; None where it starts anew, and the log says why."""
    if not message.warm_start:
        return None
    try:
        live = store.current()
    except (ModelNotFoundError, ModelFileError) as error:
        logger.info("starts anew", reason=str(error))
        return None
    wanted = NMFModel(message.n_components).n_components
    if live.model.n_components != wanted:
        logger.info("starts anew", reason=f"{live.version} has {live.model.n_components} factors, not {wanted}")
        return None
    known = _known(live, data)
    if not (known.knows_user.any() and known.knows_item.any()):
        logger.info("starts anew", reason=f"{live.version} knows none of the users, or none of the items")
        return None
    logger.info(
        "starts from the live model",
        live=live.version,
        new_users=int((~known.knows_user).sum()),
        new_items=int((~known.knows_item).sum()),
    )
    return LiveStart(live.version, known)


def _known(live: ServedModel, data: Interactions) -> KnownFactors:
    users, items = (
        mine.codes_of(theirs) for mine, theirs in ((live.user_ids, data.user_ids), (live.item_ids, data.item_ids))
    )
    assert live.model.user_factors is not None  # noqa: S101 - for the type checker
    assert live.model.item_factors is not None  # noqa: S101 - for the type checker
    return KnownFactors(
        # -1, of an id that is not known, takes the last row, which then says nothing.
        user=np.ascontiguousarray(live.model.user_factors[users], dtype=np.float32),
        item=np.ascontiguousarray(live.model.item_factors.T[items], dtype=np.float32),
        knows_user=users >= 0,
        knows_item=items >= 0,
    )
