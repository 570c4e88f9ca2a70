"""The screens of the items: found by name, popular against listed, and one of them with what is like it."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response

import producers
from producers.connections import connections
from timbral import keys
from timbral.api.context import Context
from timbral.api.ids import ItemIdInUrl, meanings
from timbral.api.refusals import Refused
from timbral.api.routes.items import get_similar
from timbral.console.changes import changed
from timbral.console.name_index import NameIndex
from timbral.console.plots import scatter_plot
from timbral.console.readers.names import live_record, names_of, typed_item
from timbral.console.rendering import id_in_path, render
from timbral.errors import ModelFileError, ModelNotFoundError
from timbral.messages import Id

__all__ = ["router"]

router = APIRouter(prefix="/console/items", include_in_schema=False)

MOST_FOUND = 30
names = NameIndex(lambda: connections().asking())


@router.get("")
def get_items(request: Request) -> Response:
    """A search by name; what is listed how often comes after, for it asks the model."""
    asked = request.query_params.get("q", "").strip()[:200]
    found = names.search(asked, MOST_FOUND) if asked else None
    known = [(one, None) for one in meanings(asked)] if asked else []
    return render(request, "items.html", asked=asked, found=found, known=known)


@router.get("/exposure")
async def get_exposure(request: Request, context: Context) -> Response:
    """How often items are in lists, against how much they are played."""
    from timbral.console.readers.catalogue import exposure_of

    def look(served: Any) -> Any:
        with connections().asking() as client:
            return exposure_of(served, client)

    try:
        found = await context.model.ask(look)
    except (ModelNotFoundError, ModelFileError):
        return render(request, "part_problem.html", problem="No model is live yet, so nothing is listed.")
    plot = scatter_plot(
        "How often items are listed, by how many users play them",
        [(users, lists, f"{one}: {users} users, {lists} lists") for users, lists, one in found.points],
        x_label="Users who play it",
        y_label=f"Of {found.n_lists} lists",
        log_x=True,
    )
    listed = [one for one, *_ in [*found.most, *found.never]]
    named = await run_sync(lambda: names_of(listed))
    return render(request, "exposure.html", found=found, plot=plot, names=named)


@router.get("/{item_id}")
async def get_item(request: Request, context: Context, item_id: ItemIdInUrl) -> Response:
    """One item."""
    from timbral.console.readers.catalogue import exposure_of, players_of

    def look(served: Any) -> dict[str, Any] | None:
        ids = meanings(item_id)
        codes = served.item_ids.codes(ids).tolist()
        known = [(one, code) for one, code in zip(ids, codes, strict=True) if code >= 0]
        if not known:
            return None
        original, code = known[0]
        with connections().asking() as client:
            exposure = exposure_of(served, client)
        players, n_looked = players_of(served, code, 10)
        return {
            "item_id": original,
            "n_users": int(served.users_per_item[code]),
            "lists": exposure.counts.get(original, 0),
            "n_lists": exposure.n_lists,
            "players": players,
            "n_looked": n_looked,
        }

    found = await context.model.ask(look)
    if found is None:
        raise Refused(404, f"No item {item_id!r} in the live model")
    similar = await get_similar(context, item_id, 12)
    original: Id = found["item_id"]
    hidden = await run_sync(lambda: original in _hidden_among(original))
    return render(request, "item.html", item=found, similar=similar, hidden=hidden)


def _hidden_among(item_id: Id) -> set[Id]:
    with connections().asking() as client:
        (is_hidden,) = client.smismember(keys.BLOCKS_ITEMS, [keys.encode_id(item_id)])
    return {item_id} if is_hidden else set()


@router.post("/{item_id}/hide")
def post_hide(request: Request, item_id: ItemIdInUrl) -> Response:
    """Show an item to nobody any more."""
    producers.hide_items([typed_item(item_id, live_record())])
    return changed(request, "hidden", f"/console/items/{id_in_path(item_id)}", item_id)


@router.post("/{item_id}/unhide")
def post_unhide(request: Request, item_id: ItemIdInUrl) -> Response:
    """Let an item be shown again."""
    producers.unhide_items([typed_item(item_id, live_record())])
    return changed(request, "unhidden", f"/console/items/{id_in_path(item_id)}", item_id)
