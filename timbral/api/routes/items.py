"""GET /items/{item_id}/similar: what is like an item."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from timbral import keys
from timbral.api.blocks import blocked_among
from timbral.api.cached_lists import parse_list
from timbral.api.context import ApiContext, Context
from timbral.api.ids import ItemIdInUrl, meanings
from timbral.api.model_reader import Similar
from timbral.api.refusals import responses
from timbral.messages import Id

__all__ = ["router"]

router = APIRouter(tags=["reading"])


class SimilarItem(BaseModel):
    """One neighbour."""

    item_id: Id
    name: str | None = None
    score: float = Field(
        description="Cosine of what the two have of their own, less where that is little; above 0, below 1."
    )


class SimilarAnswer(BaseModel):
    """An item's neighbours."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "item_id": 51,
                    "name": "Ada Lune",
                    "model_version": "20260301T120000-7",
                    "items": [{"item_id": 289, "name": "Cloud Parade", "score": 0.73}],
                }
            ]
        }
    )
    item_id: Id
    name: str | None = None
    model_version: str
    items: list[SimilarItem] = Field(description="The closest first; items that nobody must get are not in it.")


@router.get(
    "/items/{item_id}/similar",
    response_model=SimilarAnswer,
    responses=responses(404, 422),
    summary="What is like an item",
)
async def get_similar(
    context: Context,
    item_id: ItemIdInUrl,
    limit: Annotated[int, Query(ge=1, le=200, description="Most items.")] = 10,
) -> SimilarAnswer:
    """Items that the same users play, as the fleet has written them. 404 for an item that the live model does not
    know."""
    found = await _stored(context, item_id, limit) or await context.model.similar(item_id, limit)
    blocked = await blocked_among(context.redis, [one for one, _ in found.items])
    names = await context.names.of([found.item_id, *(one for one, _ in found.items)])
    return SimilarAnswer(
        item_id=found.item_id,
        name=names[found.item_id],
        model_version=found.model_version,
        items=[
            SimilarItem(item_id=one, name=names[one], score=score) for one, score in found.items if one not in blocked
        ],
    )


async def _stored(context: ApiContext, item_id: str, limit: int) -> Similar | None:
    """The list in Redis; None where it has expired, or more is wanted than it holds: then the model is asked."""
    pipeline = context.redis.pipeline(transaction=False)
    pipeline.get(keys.similar_item(item_id))
    pipeline.get(keys.SIMILAR_VERSION)
    pipeline.get(keys.MODEL_CURRENT)
    raw, version, live = await pipeline.execute()
    items = parse_list(raw)
    if items is None or version is None or version != live or limit > len(items):
        return None
    original = meanings(item_id)[-1] if any(type(item["item_id"]) is int for item in items) else item_id
    return Similar(version.decode(), original, [(item["item_id"], item["score"]) for item in items[:limit]])
