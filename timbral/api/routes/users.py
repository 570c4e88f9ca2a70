"""GET /users/{user_id} and …/explain/{item_id}: what a user plays, and why they get what they get."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from timbral import keys
from timbral.api.context import ApiContext, Context
from timbral.api.ids import ItemIdInUrl, UserIdInUrl
from timbral.api.new_plays import new_plays_in
from timbral.api.refusals import Refused, responses
from timbral.errors import ModelFileError, ModelNotFoundError
from timbral.messages import Id

__all__ = ["router"]

router = APIRouter(tags=["reading"])
Limit = Annotated[int, Query(ge=1, le=200, description="Most items.")]


class PlayedItem(BaseModel):
    """One item of a history."""

    item_id: Id
    name: str | None = Field(None, description="The item's name, where the app has given one.")
    plays: float = Field(description="Plays, or the rating that the data had in their place.")


class UserAnswer(BaseModel):
    """What a user plays."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "2",
                    "model_version": "20260301T120000-7",
                    "n_items": 50,
                    "history": [{"item_id": 51, "name": "Ada Lune", "plays": 13883.0}],
                    "new_plays": [],
                }
            ]
        }
    )
    user_id: str = Field(description="The user's id, as it stands in the URL.")
    model_version: str | None = Field(
        description="The model that knows this history; null for a user it does not know."
    )
    n_items: int = Field(description="How many items the model has seen this user play.")
    history: list[PlayedItem] = Field(description="The most played first.")
    new_plays: list[PlayedItem] = Field(description="Plays since, which wait for the next training; the most first.")


class Reason(BaseModel):
    """One played item's part in a score."""

    item_id: Id
    name: str | None = None
    contribution: float = Field(description="This item's part of the score.")
    share: float = Field(description="The same as a share of the score, 0 to 1.")


class ExplainAnswer(BaseModel):
    """Why a user gets an item: the score, shared out as far as it would fall without the one or the other played
    item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "2",
                    "item_id": 289,
                    "name": "Cloud Parade",
                    "model_version": "20260301T120000-7",
                    "score": 0.8,
                    "because": [{"item_id": 51, "name": "Ada Lune", "contribution": 0.4, "share": 0.5}],
                }
            ]
        }
    )
    user_id: str = Field(description="The user's id, as it stands in the URL.")
    item_id: Id
    name: str | None = None
    model_version: str
    score: float = Field(description="The model's score of the item for this user.")
    because: list[Reason] = Field(description="What the user plays that speaks for it, the strongest first.")


@router.get("/users/{user_id}", response_model=UserAnswer, responses=responses(404, 422), summary="What a user plays")
async def get_user(context: Context, user_id: UserIdInUrl, limit: Limit = 20) -> UserAnswer:
    """The history that the live model was trained on, and the plays since. 404 for a user with neither."""
    new_plays = await _new_plays(context, user_id)
    try:
        history = await context.model.history(user_id, limit)
    except (ModelNotFoundError, ModelFileError):
        if not new_plays:
            raise
        history = None
    if history is None and not new_plays:
        raise Refused(404, f"No user {user_id!r} in the current model")
    played = history.plays if history is not None else []
    names = await context.names.of([item_id for item_id, _ in [*played, *new_plays[:limit]]])
    return UserAnswer(
        user_id=user_id,
        model_version=history.model_version if history is not None else None,
        n_items=history.n_items if history is not None else 0,
        history=[PlayedItem(item_id=item_id, name=names[item_id], plays=plays) for item_id, plays in played],
        new_plays=[PlayedItem(item_id=one, name=names[one], plays=plays) for one, plays in new_plays[:limit]],
    )


@router.get(
    "/users/{user_id}/explain/{item_id}",
    response_model=ExplainAnswer,
    responses=responses(404, 422),
    summary="Why a user gets an item",
)
async def get_explanation(
    context: Context, user_id: UserIdInUrl, item_id: ItemIdInUrl, limit: Limit = 5
) -> ExplainAnswer:
    """What in the user's history speaks for the item, played or not. 404 where the model does not know either."""
    found = await context.model.explain(user_id, item_id, limit)
    names = await context.names.of([found.item_id, *(one for one, _ in found.because)])
    return ExplainAnswer(
        user_id=user_id,
        item_id=found.item_id,
        name=names[found.item_id],
        model_version=found.model_version,
        score=found.score,
        because=[
            Reason(
                item_id=one,
                name=names[one],
                contribution=part,
                share=min(1.0, part / found.score) if found.score > 0 else 0.0,
            )
            for one, part in found.because
        ],
    )


async def _new_plays(context: ApiContext, user_id: str) -> list[tuple[int | str, float]]:
    plays = new_plays_in(await context.redis.lrange(keys.plays_user(user_id), 0, -1))
    return sorted(plays.items(), key=lambda play: -play[1])
