"""GET /items/{item_id}/similar: what is like an item."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from timbral.api.blocks import blocked_among
from timbral.api.context import Context
from timbral.api.ids import ItemIdInUrl
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
    """Items that the same users play. 404 for an item that the live model does not know."""
    found = await context.model.similar(item_id, limit)
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
