"""``timbral names``: the items' names, for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producers.connections import connections
from timbral import keys
from timbral.cli.output import AsJson, print_json
from timbral.extras import require

__all__ = ["register"]

BATCH = 5_000


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command(rich_help_panel="Operate")(names)


def names(
    file: Annotated[Path, typer.Argument(help="A csv or tsv file with an id column and a name or title column.")],
    separator: Annotated[str | None, typer.Option(help="Column separator; guessed if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load the items' names, which the HTTP API and its page show. Names of ids that have one already are replaced.

    $ timbral names artists.tsv
    """
    require("timbral names", "worker")
    from timbral.data.dataset_file import DatasetFile
    from timbral.data.item_table import read_item_names

    known = {
        keys.encode_id(item_id): name
        for item_id, name in read_item_names(DatasetFile.of(file), separator).items()
        if name
    }
    members = list(known)
    with connections().asking() as client:
        for start in range(0, len(members), BATCH):
            client.hset(keys.ITEMS_NAMES, mapping={member: known[member] for member in members[start : start + BATCH]})
    print_json({"names": len(known)}) if as_json else typer.echo(f"{len(known):,} names loaded")
