"""KeptSettings: what searches found, by data set, until the next search of the same one."""

from __future__ import annotations

import json
from typing import Any, Final

import redis

from timbral import keys
from timbral.errors import ParameterError
from timbral.messages import TrainModel
from timbral.redis_server.replies import text

__all__ = ["KeptSettings"]

SAID: Final = ("job_id", "tuned_at", "outcome", "reason", "settings")
"""What a training says of the search that its settings are from."""


class KeptSettings:
    """The settings in Redis, without a life: a search is worth hours of trainings."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client

    def keep(self, dataset: str | None, found: dict[str, Any]) -> None:
        """Keep what a search found for a data set, or for the history (None), in place of what was found before."""
        self.redis.set(keys.tuning(dataset), json.dumps(found, ensure_ascii=False))

    def read(self, dataset: str | None) -> dict[str, Any] | None:
        """What was found last; None where nothing was."""
        kept = text(self.redis.get(keys.tuning(dataset)))
        return dict(json.loads(kept)) if kept else None

    def applied(self, message: TrainModel) -> tuple[TrainModel, dict[str, Any] | None]:
        """``message`` with the kept settings where it asks for them, and what to say of them; None where it does not.

        What the message says itself stays. Where the search found nothing better than the defaults, these are used.

        Raises:
            ParameterError: it asks for them, and nothing is kept.
        """
        if message.settings == "defaults":
            return message, None
        kept = self.read(message.dataset)
        if kept is None:
            what = "the history of plays" if message.dataset is None else message.dataset
            command = "timbral tune" if message.dataset is None else f"timbral tune {message.dataset}"
            raise ParameterError(f"No settings are kept for {what}: search them with {command} (task tune_model) first")
        own = {name: value for name, value in kept["settings"].items() if getattr(message, name) is None}
        return message.model_copy(update=own), {name: kept[name] for name in SAID} | {"settings": own}
