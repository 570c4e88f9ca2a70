"""``timbral sets``: items by name, for lists of some items alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import producers
from timbral.cli.output import AsJson, TextIds, parsed_id, print_answer, print_json, print_table
from timbral.errors import ParameterError

__all__ = ["Allow", "Exclude", "register"]

sets = typer.Typer(name="sets", no_args_is_help=True, help="Sets of items by name: list, show, put, delete.")
Name = Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-'.")]
Allow = Annotated[
    list[str] | None, typer.Option(help="Only items that are in this item set; in each, where given often.")
]
Exclude = Annotated[list[str] | None, typer.Option(help="No items that are in this item set; may be given often.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(sets, name="sets", rich_help_panel="Operate")


@sets.command("list")
def list_sets(as_json: AsJson = False) -> None:
    """List the item sets.

    $ timbral sets list
    """
    found = producers.list_item_sets()
    if as_json:
        print_json([one._asdict() for one in found])
        return
    rows = [[one.name, one.n_items, datetime.fromtimestamp(one.changed, UTC).isoformat()] for one in found]
    print_table(["name", "items", "changed"], rows)


@sets.command()
def show(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="Most items.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show items of a set, in no order.

    $ timbral sets show jazz
    """
    found = sorted(producers.get_item_set(name, limit), key=lambda one: (isinstance(one, str), one))
    print_json(found) if as_json else typer.echo("\n".join(map(str, found)))


@sets.command()
def put(
    name: Name,
    items: Annotated[list[str] | None, typer.Argument(help="Original ids of the items.")] = None,
    file: Annotated[Path | None, typer.Option(help="A text file with an id a line, beside or instead.")] = None,
    text_ids: TextIds = False,
    as_json: AsJson = False,
) -> None:
    """Have a set of these items under a name, whatever was there before.

    $ timbral sets put jazz 51 289 498

    $ timbral sets put available-de --file de.txt
    """
    lines = [] if file is None else _lines(file)
    if not items and file is None:
        raise ParameterError("say which items: timbral sets put NAME ITEM …, or --file")
    made = producers.put_item_set(name, [parsed_id(one, as_text=text_ids) for one in [*(items or []), *lines]])
    answer = {"name": made.name, "n_items": made.n_items}
    print_json(answer) if as_json else print_answer(answer)


@sets.command()
def delete(name: Name, as_json: AsJson = False) -> None:
    """Remove a set; lists that name it are refused from then on.

    $ timbral sets delete jazz
    """
    answer = {"deleted": producers.delete_item_set(name)}
    print_json(answer) if as_json else print_answer(answer)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ParameterError(f"{file} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
