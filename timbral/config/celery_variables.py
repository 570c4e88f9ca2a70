"""Environment variables that Celery reads by itself, and prefers to its configuration.

An app beside us sets them for a Celery of its own. Taken for ours, they would send our messages to that app's broker.
"""

from __future__ import annotations

import os
from typing import Final

from timbral.config.settings import Settings, public_address

__all__ = ["CELERY_VARIABLES", "foreign_variables"]

CELERY_VARIABLES: Final = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
    "CELERY_RESULT_BACKEND",
    "CELERY_LOADER",
    "CELERY_CONFIG_MODULE",
)


def foreign_variables(settings: Settings) -> list[str]:
    """A sentence for each of them that says something else than ``settings``; none holds a password."""
    own = {settings.BROKER_URL or settings.REDIS_URL, settings.broker_url}
    own.add(settings.queue.celery_url)
    found = []
    for name in CELERY_VARIABLES:
        value = os.environ.get(name)
        if value and value not in own:
            shown = public_address(value) if "://" in value else value
            found.append(f"{name}={shown} is not used: timbral's queue is at {public_address(settings.broker_url)}")
    return found
