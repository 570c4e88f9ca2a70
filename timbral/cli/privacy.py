"""``timbral forget`` and ``timbral export-user``: what is stored of a person, and its removal."""

from __future__ import annotations

from typing import Annotated

import typer

import producers
from timbral.cli.following import sent
from timbral.cli.output import AsJson, TextIds, Wait, parsed_id, print_json

__all__ = ["register"]

PANEL = "Privacy"


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command(rich_help_panel=PANEL)(forget)
    application.command(rich_help_panel=PANEL)(export_user)


def forget(
    users: Annotated[list[str], typer.Argument(help="Original ids of the users.")],
    text_ids: TextIds = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Remove all that is stored of users, for good, and keep them out from then on; prints a receipt.

    $ timbral forget 1042

    $ timbral forget u1 u2 --no-wait
    """
    sent(producers.forget_users(parsed_id(user, as_text=text_ids) for user in users), wait=wait, as_json=as_json)


def export_user(
    user: Annotated[str, typer.Argument(help="The user's original id.")],
    text_ids: TextIds = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a worker.")] = 60.0,
) -> None:
    """Print all that is stored of a user, as JSON.

    $ timbral export-user 1042
    """
    print_json(producers.export_user(parsed_id(user, as_text=text_ids), timeout_s=timeout))
