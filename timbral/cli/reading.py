"""``timbral show``, ``block``, ``hide`` and their opposites: what users get, and what they must not."""

from __future__ import annotations

from typing import Annotated

import typer

import producers
from producers.connections import connections
from timbral import keys
from timbral.cli.at_hand import server_at_hand
from timbral.cli.item_sets import Allow, Exclude
from timbral.cli.lists import print_list
from timbral.cli.output import AsJson, TextIds, hint, parsed_id, print_json
from timbral.errors import ParameterError

__all__ = ["register"]

PANEL = "Read"

ForUser = Annotated[str | None, typer.Option("--user", "-u", help="The user; for everybody if not given.")]
Items = Annotated[list[str], typer.Argument(help="Original ids of the items.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command(rich_help_panel=PANEL)(show)
    application.command(rich_help_panel=PANEL)(block)
    application.command(rich_help_panel=PANEL)(unblock)
    application.command(rich_help_panel=PANEL)(hide)
    application.command(rich_help_panel=PANEL)(unhide)


def show(
    user: Annotated[str | None, typer.Argument(help="A user's original id.")] = None,
    popular: Annotated[
        bool, typer.Option("--popular", help="What most users play: for a user without a list, or for nobody.")
    ] = False,
    allow: Allow = None,
    exclude: Exclude = None,
    text_ids: TextIds = False,
    as_json: AsJson = False,
) -> None:
    """Show a user's recommendations, as an app reads them.

    $ timbral show 1042

    $ timbral show 1042 --popular --json
    """
    if user is None and not popular:
        raise ParameterError("say whose recommendations to show (timbral show USER), or --popular")
    with server_at_hand():
        _show(user, popular, allow or [], exclude or [], text_ids=text_ids, as_json=as_json)


def _show(
    user: str | None, popular: bool, allow: list[str], exclude: list[str], *, text_ids: bool, as_json: bool
) -> None:
    if user is None:
        if allow or exclude:
            raise ParameterError("popular items are of all items: --allow and --exclude need a user")
        key, listed = keys.RECOMMENDATIONS_POPULAR, producers.get_popular()
    else:
        user_id = parsed_id(user, as_text=text_ids)
        key = keys.recommendations_user(user_id)
        listed = producers.get_recommendations(user_id, popular_if_cold=popular, allow=allow, exclude=exclude)
    if listed is None:
        with connections().asking() as client:
            # Reading answers None while Redis is away or refuses, too: that has an error of its own.
            client.get(key)
        if as_json:
            print_json(None)
        what = "popular items" if user is None else f"recommendations for {user}"
        hint(f"timbral: no {what} in the cache; timbral recommend writes them")
        raise typer.Exit(1)
    if as_json:
        print_json(listed)
        return
    print_list(listed)


def block(items: Items, user: ForUser = None, text_ids: TextIds = False, as_json: AsJson = False) -> None:
    """Never recommend items again; counts from the next read on.

    $ timbral block 77 78 --user 1042

    $ timbral block 99
    """
    user_id, item_ids = _ids(user, items, text_ids)
    _say("blocked", producers.block_items(user_id, item_ids), user, as_json)


def unblock(items: Items, user: ForUser = None, text_ids: TextIds = False, as_json: AsJson = False) -> None:
    """Remove a block.

    $ timbral unblock 77 --user 1042
    """
    user_id, item_ids = _ids(user, items, text_ids)
    _say("unblocked", producers.unblock_items(user_id, item_ids), user, as_json)


def hide(items: Items, text_ids: TextIds = False, as_json: AsJson = False) -> None:
    """Show items to nobody any more, in no kind of list; counts from the next read on.

    $ timbral hide 99 100
    """
    _say("hidden", producers.hide_items(_ids(None, items, text_ids)[1]), None, as_json)


def unhide(items: Items, text_ids: TextIds = False, as_json: AsJson = False) -> None:
    """Let hidden items be shown again.

    $ timbral unhide 99
    """
    _say("shown again", producers.unhide_items(_ids(None, items, text_ids)[1]), None, as_json)


def _ids(user: str | None, items: list[str], text_ids: bool) -> tuple[int | str | None, list[int | str]]:
    item_ids = [parsed_id(item, as_text=text_ids) for item in items]
    return None if user is None else parsed_id(user, as_text=text_ids), item_ids


def _say(what: str, n_items: int, user: str | None, as_json: bool) -> None:
    if as_json:
        print_json({what: n_items, "user": user})
    else:
        typer.echo(f"{what} {n_items} item{'' if n_items == 1 else 's'} for {'everybody' if user is None else user}")
