"""GET, PUT and DELETE /item-sets/{name}: items by name, for lists of some items alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

import producers
from timbral.api.refusals import Refused, responses
from timbral.errors import ParameterError
from timbral.messages import MAX_IDS, SET_NAME, Id

__all__ = ["router"]

router = APIRouter(tags=["item sets"])

Name = Annotated[str, Path(pattern=f"^{SET_NAME}$", description="The set's name.")]


class ItemSetAnswer(BaseModel):
    """What is known of a set beside its items."""

    name: str
    n_items: int
    changed: int = Field(description="When it was put, in seconds since 1970.")


class ItemsOfSet(BaseModel):
    """A set's items."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"item_ids": [51, 289, 498]}]})
    item_ids: list[Id] = Field(max_length=MAX_IDS, description="Original ids; for more, use producers.put_item_set.")


@router.get("/item-sets", responses=responses(), summary="The sets")
async def get_item_sets() -> list[ItemSetAnswer]:
    """The item sets, by name."""
    return [_answer(one) for one in await run_in_threadpool(producers.list_item_sets)]


@router.get("/item-sets/{name}", responses=responses(404, 422), summary="Items of a set")
async def get_item_set(
    name: Name, limit: Annotated[int, Query(ge=1, le=MAX_IDS, description="Most items.")] = 1000
) -> ItemsOfSet:
    """Items of the set, in no order."""
    try:
        return ItemsOfSet(item_ids=list(await run_in_threadpool(producers.get_item_set, name, limit)))
    except ParameterError as error:
        raise Refused(404, str(error)) from None


@router.put("/item-sets/{name}", responses=responses(400, 408, 413, 415, 422), summary="Put a set")
async def put_item_set(name: Name, items: ItemsOfSet) -> ItemSetAnswer:
    """Have a set of these items under the name, whatever was there before: at once, and whole."""
    return _answer(await run_in_threadpool(producers.put_item_set, name, items.item_ids))


@router.delete("/item-sets/{name}", status_code=204, responses=responses(404, 422), summary="Delete a set")
async def delete_item_set(name: Name) -> None:
    """Remove the set; lists that name it are refused from then on."""
    if not await run_in_threadpool(producers.delete_item_set, name):
        raise Refused(404, f"There is no item set {name!r}")


def _answer(one: producers.ItemSet) -> ItemSetAnswer:
    return ItemSetAnswer(name=one.name, n_items=one.n_items, changed=one.changed)
