"""ListPreview: the lists that a version would give, for people to look at. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timbral.logic.batch_recommendation import SCORE_DIGITS, BatchRecommendation
from timbral.logic.newest_wins import Vectors
from timbral.messages import Id
from timbral.models.search.top_k import TopK

__all__ = ["ListPreview"]


class ListPreview(BatchRecommendation):
    """``BatchRecommendation`` that keeps what it would write: new plays and blocks count as they do for the live
    model."""

    def lists(self, user_ids: Sequence[Id]) -> dict[Id, list[dict[str, Any]]]:
        """Best first, by user; a user whom neither the model nor a new play knows has none."""
        self._made: dict[Id, list[dict[str, Any]]] = {}
        self.for_users(list(dict.fromkeys(user_ids)))
        return {user_id: self._made[user_id] for user_id in user_ids if user_id in self._made}

    def write_lists(
        self,
        user_ids: Sequence[Id],
        top: TopK,
        newest: Sequence[str] = (),  # noqa: ARG002 - the cache's signature
        vectors: Vectors | None = None,  # noqa: ARG002 - the same
    ) -> None:
        items = self.served.item_ids.ids(top.item_indices)
        for place, user_id in enumerate(user_ids):
            row = range(int(top.indptr[place]), int(top.indptr[place + 1]))
            self._made[user_id] = [
                {"item_id": items[at], "score": round(float(top.scores[at]), SCORE_DIGITS)} for at in row
            ]

    def _settle(self, *_: Any) -> bool:
        """Nothing of the plays that were looked at is noted."""
        return False
