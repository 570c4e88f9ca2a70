"""GET /users/{user_id}/recommendations: what the fleet wrote for a user, or what most users play."""

from __future__ import annotations

import json
import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from timbral import keys
from timbral.api.blocks import blocked_among
from timbral.api.cached_lists import parse_list
from timbral.api.context import ApiContext, Context
from timbral.api.ids import UserIdInUrl
from timbral.api.metrics import RECOMMENDATIONS
from timbral.api.new_plays import new_plays_in
from timbral.api.refusals import Refused, responses
from timbral.errors import ParameterError
from timbral.lists.served_list import Item, served_list
from timbral.messages import Id, SetNames

__all__ = ["RecommendationsAnswer", "recommend", "router"]

logger = logging.getLogger(__name__)
router = APIRouter(tags=["reading"])

N_FROM_SETS = 10
N_POPULAR = 10
"""Popular items that a user without a list gets, unless they ask for another number."""
COUNTED = {source: RECOMMENDATIONS.labels(source) for source in ("cache", "model", "popular", "none")}


class RecommendedItem(BaseModel):
    """One item of a list."""

    model_config = ConfigDict(extra="allow")
    item_id: Id = Field(description="The item's own id: an int or a string, as the data has it.")
    score: float | None = Field(None, description="The model's score; lists of different users do not compare.")
    name: str | None = Field(None, description="The item's name, where `names=true` asked for it and there is one.")


class RecommendationsAnswer(BaseModel):
    """A user's list, best first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "2",
                    "source": "cache",
                    "items": [{"item_id": 289, "score": 0.83}, {"item_id": 498, "score": 0.71}],
                }
            ]
        }
    )
    user_id: str = Field(description="The user's id, as it stands in the URL.")
    source: Literal["cache", "model", "popular", "none"] = Field(
        description="cache: made for this user. model: made for this user at the moment of asking, from item sets. "
        "popular: what most users play, for one who is unknown or has no list now. none: there is no list of any kind "
        "yet."
    )
    items: list[RecommendedItem] = Field(description="Best first; never an item that is blocked.")


@router.get(
    "/users/{user_id}/recommendations",
    response_model=RecommendationsAnswer,
    responses=responses(422),
    summary="What a user gets",
)
async def get_recommendations(
    context: Context,
    user_id: UserIdInUrl,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="Most items; the whole list if unset.")] = None,
    names: Annotated[bool, Query(description="Add each item's name.")] = False,
    allow: Annotated[SetNames | None, Query(description="Only items in this item set; in each, where several.")] = None,
    exclude: Annotated[SetNames | None, Query(description="No items in this item set; may be given often.")] = None,
) -> Response:
    """The list in the cache, without the items that are blocked now; popular items for a user who has none.

    With `allow` or `exclude`, names of item sets, the list is made at the moment of asking, by the live model, and
    nothing is read from the cache or written to it. A set that is not there is refused with 422.

    An id in a URL is text, and 1 and "1" share a key in Redis: `/users/1/…` reads the list of either.
    """
    if allow or exclude:
        body = await _from_sets(context, user_id, allow or [], exclude or [], limit or N_FROM_SETS, names)
    else:
        body = await recommend(context, user_id, limit, names)
    return Response(body, media_type="application/json")


async def _from_sets(
    context: ApiContext, user_id: str, allow: list[str], exclude: list[str], limit: int, names: bool
) -> bytes:
    try:
        items, source = await context.model.recommend(user_id, allow, exclude, limit)
    except ParameterError as error:
        raise Refused(422, str(error), error="ParameterError") from None
    COUNTED[source].inc()
    if names:
        known = await context.names.of(item["item_id"] for item in items)
        items = [{**item, "name": known.get(item["item_id"])} for item in items]
    return json.dumps({"user_id": user_id, "source": source, "items": items}, allow_nan=False).encode()


async def recommend(context: ApiContext, user_id: str, limit: int | None = None, names: bool = False) -> bytes:
    """The answer's JSON."""
    raw, has_blocks = await context.lists.read(user_id)
    own, popular, seen = parse_list(raw), None, set[int | str]()
    if own is None:
        if raw is not None:
            logger.warning("The value of %r is not a list of items; left aside", keys.recommendations_user(user_id))
        popular, seen = await _popular(context, user_id)
    ids = [item["item_id"] for item in own or popular or []]
    blocked = await blocked_among(context.redis, ids, user_id) if has_blocks or own is None else set()
    items, source = served_list(own, popular, seen=seen, blocked=blocked)
    if source != "cache":
        items = items[: limit or N_POPULAR]
    if source != "cache" or blocked:
        raw = None
    COUNTED[source].inc()
    if limit is not None and len(items) > limit:
        items, raw = items[:limit], None
    if names:
        known = await context.names.of(item["item_id"] for item in items)
        items, raw = [{**item, "name": known.get(item["item_id"])} for item in items], None
    if raw is None:
        raw = json.dumps(items, ensure_ascii=True, allow_nan=False).encode()
    return b'{"user_id":%s,"source":"%s","items":%s}' % (json.dumps(user_id).encode(), source.encode(), raw)


async def _popular(context: ApiContext, user_id: str) -> tuple[list[Item] | None, set[int | str]]:
    """What most users play, None where it is not known; and what of it the user has played, at the training and
    since."""
    pipeline = context.redis.pipeline(transaction=False)
    pipeline.get(keys.RECOMMENDATIONS_POPULAR)
    pipeline.lrange(keys.plays_user(user_id), 0, -1)
    raw, played = await pipeline.execute()
    items = parse_list(raw)
    listed: list[int | str] = [item["item_id"] for item in items or []]
    seen = await context.model.seen_among(user_id, listed)
    return items, seen | set(new_plays_in(played))
