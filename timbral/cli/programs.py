"""``timbral demo``, ``up`` and ``serve``: programs that run until they are done or told to stop.

Each lives in a module of its own that a thin install need not have, and is imported when its command is called. Another one
is added the same way: a function here with its options, ``require(command, extra)`` and the import, a line in
``register``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from timbral.extras import require

__all__ = ["register"]

PANEL = "Run"


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command(rich_help_panel=PANEL)(demo)
    application.command(rich_help_panel=PANEL)(up)
    application.command(rich_help_panel=PANEL)(serve)


def demo(
    data: Annotated[Path | None, typer.Option(help="A listening history; one is made up where not given.")] = None,
    names: Annotated[Path | None, typer.Option(help="A file with the items' names.")] = None,
    user_col: Annotated[str | None, typer.Option(help="Column of the users' ids; guessed where not given.")] = None,
    item_col: Annotated[str | None, typer.Option(help="Column of the items' ids; guessed where not given.")] = None,
    value_col: Annotated[str | None, typer.Option(help="Column of the plays; guessed where not given.")] = None,
    separator: Annotated[str | None, typer.Option(help="Column separator; guessed where not given.")] = None,
    n_users: Annotated[int, typer.Option("--users", min=1, help="How many users to show.")] = 3,
    n_components: Annotated[int | None, typer.Option(help="Factors of the model.")] = None,
    random_state: Annotated[int, typer.Option(help="Seed.")] = 7,
) -> None:
    """Show the main job, for real, on a private server: train, refresh, recommend, and whom it serves what.

    $ timbral demo

    $ timbral demo --data lastfm-2k/user_artists.dat
    """
    require("timbral demo", "worker", "embedded")
    from timbral.demo.run import DemoOptions, run_demo

    run_demo(
        DemoOptions(
            data=data,
            names=names,
            user_col=user_col,
            item_col=item_col,
            value_col=value_col,
            separator=separator,
            n_users=n_users,
            n_components=n_components,
            random_state=random_state,
        )
    )


def up(
    concurrency: Annotated[int | None, typer.Option(min=1, help="Processes of the worker's pool.")] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the HTTP API; API_PORT where not given.")] = None,
    flower_port: Annotated[int | None, typer.Option(help="Port of Flower.")] = None,
) -> None:
    """Run the whole stack in this terminal: server, workers, scheduler, Flower, HTTP API. Ctrl-C stops it.

    $ timbral up

    $ timbral up --concurrency 2 --api-port 8080
    """
    require("timbral up", "worker", "dashboard", "api", "embedded")
    from timbral.stack.up import up as run_up

    raise typer.Exit(run_up(concurrency=concurrency, api_port=api_port, flower_port=flower_port))


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; API_HOST where not given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; API_PORT where not given.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; API_WORKERS where not given.")] = None,
) -> None:
    """Run the HTTP API, for apps in any language.

    $ timbral serve --host 127.0.0.1 --port 8000
    """
    require("timbral serve", "api")
    from timbral.api.serve import serve as run_serve

    run_serve(host=host, port=port, workers=workers)
