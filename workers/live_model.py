"""The model that is live when something of it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from timbral.versions.served_model import ServedModel
from workers import resources

__all__ = ["while_live"]

logger = structlog.get_logger(__name__)

T = TypeVar("T")


def while_live(write: Callable[[ServedModel], T], served: ServedModel | None = None) -> tuple[ServedModel, T]:
    """``write`` with the live model, and once more where another one went live meanwhile: a worker that stood still, or
    a message that was delivered again hours later, must not leave what a model made that was replaced, or rolled back.

    Args:
        served: the live model, where it has just been asked for.
    """
    store = resources.store()
    served = served or store.current()
    while True:
        written = write(served)
        now = store.current()
        if now.version == served.version:
            return served, written
        logger.warning("another version went live meanwhile, and it is done once more", version=now.version)
        served = now
