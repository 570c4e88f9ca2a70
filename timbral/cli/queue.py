"""``timbral queue``: what waits, for the person on call."""

from __future__ import annotations

from typing import Annotated

import typer

from producers.connections import connections
from timbral.cli.output import AsJson, print_answer, print_json
from timbral.logic.dropping import drop_queue
from timbral.queue import layout

__all__ = ["register"]

queue = typer.Typer(name="queue", no_args_is_help=True, help="What waits in the queues: drop it.")


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(queue, name="queue", rich_help_panel="Operate")


@queue.command()
def drop(
    name: Annotated[str, typer.Argument(metavar="QUEUE", help=f"Which: {', '.join(layout.QUEUES)}.")],
    task: Annotated[str | None, typer.Option(help="Only messages of this task.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the messages that wait in a queue; their tasks count as cancelled. What workers have in hand runs on.

    $ timbral queue drop training --yes
    """
    if not yes:
        typer.confirm(f"Drop what waits in {name}?", abort=True)
    reached = connections()
    with reached.asking() as records, reached.asking(results=True) as broker:
        n_dropped = drop_queue(records, broker, name, task)
    print_json({"dropped": n_dropped}) if as_json else print_answer({"dropped": n_dropped})
