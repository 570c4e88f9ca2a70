"""The live model, asked from request handlers: what a user plays, why an item suits them, what is like an item.

numpy and the model's file come in with the first question, so that an API which only reads the cache needs neither.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import redis
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from timbral.api.ids import meanings
from timbral.api.refusals import Refused
from timbral.config.settings import Settings
from timbral.errors import ModelFileError, ModelNotFoundError
from timbral.redis_server.client import connect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from timbral.data.id_index import IdIndex
    from timbral.versions.served_model import ServedModel

__all__ = ["Explanation", "History", "ModelReader", "Similar"]

MAX_THREADS = 4
T = TypeVar("T")
Weighted = tuple[int | str, float]


class History(NamedTuple):
    """What the model has seen a user play: the most played first."""

    model_version: str
    user_id: int | str
    n_items: int
    plays: list[Weighted]


class Explanation(NamedTuple):
    """A score and what in the history speaks for it: ``(item, its part of the score)``, the largest first."""

    model_version: str
    user_id: int | str
    item_id: int | str
    score: float
    because: list[Weighted]


class Similar(NamedTuple):
    """Items like ``item_id`` with their scores in (0, 1), the closest first."""

    model_version: str
    item_id: int | str
    items: list[Weighted]


class ModelReader:
    """Questions to the model that is live, each answered in a thread by the version that is live at that moment.

    Redis is asked before each answer, so that a user who was forgotten is not known a second longer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._limiter: CapacityLimiter | None = None
        self._current: Callable[[], ServedModel] | None = None
        self._client: redis.Redis

    async def warm_up(self) -> None:
        """Load numpy and map the model before the first user waits for it; where there is no model, nothing happens."""
        if not self._settings.MODEL_DIR.is_dir():
            return
        with contextlib.suppress(ModelNotFoundError, ModelFileError, redis.RedisError):
            await self.ask(lambda served: served.seen.nnz)

    async def seen_among(self, user_id: str, item_ids: Sequence[int | str]) -> set[int | str]:
        """Those of ``item_ids`` that the user had played at the training; none where there is no model or no such
        user."""

        def ask(served: ServedModel) -> set[int | str]:
            user = _code(served.user_ids, user_id)[0]
            if user < 0:
                return set()
            seen = set(_seen(served, user)[0].tolist())
            codes = served.item_ids.codes(list(item_ids)).tolist()
            return {item_id for item_id, code in zip(item_ids, codes, strict=True) if code in seen}

        try:
            return await self.ask(ask)
        except (ModelNotFoundError, ModelFileError):
            return set()

    async def history(self, user_id: str, limit: int) -> History | None:
        """What the user plays; None for one that the model does not know.

        Raises:
            ModelNotFoundError, ModelFileError: no model to ask.
        """

        def ask(served: ServedModel) -> History | None:
            user, original = _code(served.user_ids, user_id)
            if user < 0:
                return None
            items, plays = _seen(served, user)
            most = (-plays).argsort(kind="stable")[:limit]
            listed = zip(served.item_ids.ids(items[most]), plays[most].tolist(), strict=True)
            return History(served.version, original, len(items), list(listed))

        return await self.ask(ask)

    async def explain(self, user_id: str, item_id: str, limit: int) -> Explanation:
        """Why the user gets the item.

        Raises:
            Refused: 404, the model does not know the user or the item.
            ModelNotFoundError, ModelFileError: no model to ask.
        """

        def ask(served: ServedModel) -> Explanation:
            user, original_user = _known(served.user_ids, user_id, "user")
            item, original_item = _known(served.item_ids, item_id, "item")
            score = float(served.model.predict([user], [item])[0])
            items, parts = served.model.explain(user, item, top_k=limit)
            because = list(zip(served.item_ids.ids(items), parts.tolist(), strict=True))
            return Explanation(served.version, original_user, original_item, score, because)

        return await self.ask(ask)

    async def similar(self, item_id: str, limit: int) -> Similar:
        """Items like this one.

        Raises:
            Refused: 404, the model does not know the item.
            ModelNotFoundError, ModelFileError: no model to ask.
        """

        def ask(served: ServedModel) -> Similar:
            item, original = _known(served.item_ids, item_id, "item")
            items, scores = served.model.similar_items(item, top_k=limit)
            return Similar(
                served.version, original, list(zip(served.item_ids.ids(items), scores.tolist(), strict=True))
            )

        return await self.ask(ask)

    async def recommend(
        self, user_id: str, allow: Sequence[str], exclude: Sequence[str], limit: int
    ) -> tuple[list[dict[str, Any]], Literal["model", "popular"]]:
        """The user's list of items in each of the sets ``allow`` and in none of ``exclude``, as it is at this moment;
        of popular ones for a user of whom nothing is known.

        Raises:
            ParameterError: there is no set of one of the names; nothing that the model knows is allowed.
            ModelNotFoundError, ModelFileError: no model to ask.
        """

        def ask(served: ServedModel) -> tuple[list[dict[str, Any]], Literal["model", "popular"]]:
            from timbral.logic.batch_recommendation import BatchRecommendation

            batch = BatchRecommendation(self._client, served, top_k=limit, allow=allow, exclude=exclude)
            original = _code(served.user_ids, user_id)[1]
            listed = batch.list_of(original)
            return (batch.popular(original), "popular") if listed is None else (listed, "model")

        return await self.ask(ask)

    async def ask(self, question: Callable[[ServedModel], T]) -> T:
        """The answer of ``question`` to the live model, from a thread.

        Raises:
            ModelNotFoundError, ModelFileError: no model to ask.
        """
        # Threads of their own: a slow model must not take those that enqueue.
        self._limiter = self._limiter or CapacityLimiter(MAX_THREADS)
        return await run_sync(lambda: question(self._take()), limiter=self._limiter)

    def _take(self) -> ServedModel:
        with self._lock:
            return (self._current or self._open())()

    def _open(self) -> Callable[[], ServedModel]:
        from timbral.versions.model_store import ModelStore

        self._client = connect(self._settings.redis_url, timeout_s=2.0, connect_timeout_s=1.0)
        self._current = ModelStore(self._client, self._settings.MODEL_DIR).current
        return self._current


def _code(index: IdIndex, text: str) -> tuple[int, int | str]:
    """``(code, original id)`` of an id in a URL; code -1 where the index has neither the string nor the int."""
    ids = meanings(text)
    for original, code in zip(ids, index.codes(ids).tolist(), strict=True):
        if code >= 0:
            return code, original
    return -1, text


def _known(index: IdIndex, text: str, kind: str) -> tuple[int, int | str]:
    code, original = _code(index, text)
    if code < 0:
        raise Refused(404, f"No {kind} {text!r} in the current model")
    return code, original


def _seen(served: ServedModel, user: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Item codes and plays of one row of what the model was trained on."""
    row = slice(int(served.seen.indptr[user]), int(served.seen.indptr[user + 1]))
    return served.seen.indices[row], served.seen.data[row]
