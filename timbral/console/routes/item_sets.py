"""The screens of the item sets: which there are, what is in one; made, replaced and deleted."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

import producers
from timbral.api.refusals import Refused
from timbral.console.changes import changed
from timbral.console.paging import page_of
from timbral.console.readers.item_sets import SHOWN, checked_name, items_in, set_named, shown
from timbral.console.readers.names import live_record, names_of
from timbral.console.rendering import render

__all__ = ["router"]

router = APIRouter(prefix="/console/item-sets", include_in_schema=False)

PER_PAGE = 50


@router.get("")
def get_sets(request: Request) -> Response:
    """A page of them, by name."""
    sets = producers.list_item_sets()
    page = page_of(request.query_params.get("page"), PER_PAGE, len(sets))
    are_text = live_record().get("item_id_kind") == "str"
    return render(request, "item_sets.html", sets=sets[page.first : page.last], page=page, are_text=are_text)


@router.get("/{name}")
def get_set(request: Request, name: str) -> Response:
    """One of them, with what is in it."""
    one = set_named(name)
    found = shown(one)
    return render(request, "item_set.html", one=one, found=found, names=names_of(found.items), most=SHOWN)


@router.post("")
def post_set(request: Request) -> Response:
    """Put a set under a name that is free, or another one in the place of that which was looked at."""
    form = request.state.form
    name, seen = checked_name(form.get("name", "").strip()), form.get("version", "")
    known = {one.name: one.version for one in producers.list_item_sets()}
    if known.get(name, "") != seen:
        if not seen:
            raise Refused(409, f"There is an item set {name!r} already: open it to replace what is in it")
        raise Refused(409, f"The item set {name!r} was changed or deleted meanwhile: open it again")
    items = items_in(form.get("items", ""), are_text="are_text" in form, record=live_record())
    made = producers.put_item_set(name, items)
    return changed(request, "item set put", f"/console/item-sets/{name}", name, n_items=made.n_items)


@router.post("/{name}/delete")
def post_delete(request: Request, name: str) -> Response:
    """Remove one."""
    if not producers.delete_item_set(checked_name(name)):
        raise Refused(404, f"There is no item set {name!r}")
    return changed(request, "item set deleted", "/console/item-sets", name)
