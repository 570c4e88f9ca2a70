"""The screens of a user: what they play, what they get, and why; two models' lists side by side; and what may be done
for them. The first of them asks the API's own routes with a script."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response

import producers
from producers.connections import connections
from timbral import keys
from timbral.api.context import Context
from timbral.api.ids import MAX_CHARACTERS, meanings
from timbral.api.refusals import Refused
from timbral.console.audit import audit
from timbral.console.changes import changed
from timbral.console.readers.models import read_versions
from timbral.console.readers.names import live_record, names_of, typed_item, typed_user
from timbral.console.rendering import render
from timbral.messages import Id

__all__ = ["router"]

router = APIRouter(prefix="/console/users", include_in_schema=False)

MOST_BLOCKED = 50


@router.get("")
def get_users(request: Request) -> Response:
    """The screen; which user is looked at stands in the address."""
    return render(request, "users.html")


@router.get("/actions")
def get_actions(request: Request) -> Response:
    """What may be done for a user."""
    return _actions(request, _user(request.query_params.get("user", "")))


@router.get("/compare")
def get_comparison(request: Request) -> Response:
    """Whose list, and from which two versions; the lists take longer than a look, and come after."""
    query = request.query_params
    user, first, second = (query.get(name, "").strip() for name in ("user", "first", "second"))
    with connections().asking() as client:
        versions = read_versions(client)
    return render(
        request, "user_compare.html", user=user, chosen=(first, second), records=versions.records,
        current=versions.current, back_to=versions.back_to,
    )  # fmt: skip


@router.get("/lists")
def get_lists(request: Request, context: Context) -> Response:
    """A user's list from two versions, side by side; nothing is written."""
    from timbral.logic.list_preview import ListPreview
    from timbral.versions.model_store import ModelStore

    query = request.query_params
    user, chosen = _user(query.get("user", "")), (query.get("first", ""), query.get("second", ""))
    lists = []
    with connections().asking() as client:
        store = ModelStore(client, context.settings.MODEL_DIR)
        for version in chosen:
            made = ListPreview(client, store.get(version)).lists(meanings(user))
            lists.append(next((listed for listed in made.values()), None))
    named = names_of(item["item_id"] for listed in lists for item in listed or [])
    return render(request, "user_lists.html", chosen=chosen, lists=lists, names=named)


@router.post("/play")
def post_play(request: Request) -> Response:
    """Record a play; the list follows within moments, and the page watches for it."""

    def play(user_id: Id, item_id: Id) -> None:
        producers.record_plays([{"user_id": user_id, "item_id": item_id}])

    return _for_item(request, "played", play)


@router.post("/block")
def post_block(request: Request) -> Response:
    """Never recommend an item to a user again."""
    return _for_item(request, "blocked", lambda user_id, item_id: producers.block_items(user_id, [item_id]))


@router.post("/unblock")
def post_unblock(request: Request) -> Response:
    """Let a user be recommended an item again."""
    return _for_item(request, "unblocked", lambda user_id, item_id: producers.unblock_items(user_id, [item_id]))


@router.post("/forget")
def post_forget(request: Request) -> Response:
    """Remove all that is stored of a user; their id has to be typed once more."""
    form = request.state.form
    user = _user(form.get("user", ""))
    if form.get("again", "") != user:
        raise Refused(422, "The id that was typed is not this user's, so nothing was done")
    job = producers.forget_user(typed_user(user, live_record()))
    # No id in the log: who was forgotten must be nowhere.
    return changed(request, "forgotten", f"/console/jobs/{quote(job.id, safe='')}")


def _for_item(request: Request, action: str, do: Callable[[Id, Id], object]) -> Response:
    form, record = request.state.form, live_record()
    user, item = _user(form.get("user", "")), form.get("item", "").strip()
    if not 1 <= len(item) <= MAX_CHARACTERS:
        raise Refused(422, f"An item's id has 1 to {MAX_CHARACTERS} characters")
    item_id = typed_item(item, record)
    do(typed_user(user, record), item_id)
    audit(request, action, user=user, item=item_id)
    if not request.headers.get("hx-request"):
        return Response(status_code=303, headers={"location": f"/console/users?{urlencode({'user': user})}"})
    answer = _actions(request, user, done=(action, names_of([item_id]).get(item_id, str(item_id))))
    answer.headers["hx-trigger"] = "listmoved"
    return answer


def _actions(request: Request, user: str, done: tuple[str, str] | None = None) -> Response:
    with connections().asking() as client:
        n_blocked = client.scard(keys.blocks_user(user))
        _, members = client.sscan(keys.blocks_user(user), 0, count=MOST_BLOCKED)
    blocked = [keys.decode_id(member) for member in members][:MOST_BLOCKED]
    return render(
        request, "user_actions.html", user=user, done=done, blocked=blocked, n_blocked=n_blocked,
        names=names_of(blocked),
    )  # fmt: skip


def _user(given: str) -> str:
    if not 1 <= len(given) <= MAX_CHARACTERS:
        raise Refused(422, f"A user's id has 1 to {MAX_CHARACTERS} characters")
    return given
