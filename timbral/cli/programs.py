"""``timbral demo``, ``up`` and ``serve``: programs that run until they are done or told to stop.

Each lives in a module of its own that a thin install need not have, and is imported when its command is called. Another
one
is added the same way: a function here with its options, ``require(command, extra)`` and the import, a line in
``register``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from timbral.cli.data_options import DataOptions, with_data_options
from timbral.extras import require

__all__ = ["register"]

PANEL = "Run"


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command(rich_help_panel=PANEL)(demo)
    application.command(rich_help_panel=PANEL)(up)
    application.command(rich_help_panel=PANEL)(serve)


@with_data_options
def demo(
    *,
    data: Annotated[
        Path | None, typer.Option(help="A listening history, a file or a folder; made up if not given.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="A file with the items' names.")] = None,
    read: DataOptions,
    n_users: Annotated[int, typer.Option("--users", min=1, help="How many users to show.")] = 3,
    n_components: Annotated[int | None, typer.Option(help="Factors of the model.")] = None,
    random_state: Annotated[int, typer.Option(help="Seed.")] = 7,
) -> None:
    """Run the main job on a private server, for real: train, refresh, recommend, and show what came of it.

    $ timbral demo

    $ timbral demo --data lastfm-2k/user_artists.dat
    """
    require("timbral demo", "worker", "history", "embedded")
    from timbral.demo.run import DemoOptions, run_demo

    run_demo(
        DemoOptions(
            data=data,
            names=names,
            read=read.arguments(),
            n_users=n_users,
            n_components=n_components,
            random_state=random_state,
        )
    )


def up(
    concurrency: Annotated[int | None, typer.Option(min=1, help="Processes of the worker's pool.")] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the HTTP API; API_PORT if not given.")] = None,
    flower_port: Annotated[int | None, typer.Option(help="Port of Flower.")] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the console in a browser.")] = False,
) -> None:
    """Run the whole stack in this terminal: server, workers, scheduler, Flower, HTTP API. Ctrl-C stops it.

    $ timbral up --open

    $ timbral up --concurrency 2 --api-port 8080
    """
    require("timbral up", "worker", "dashboard", "api", "embedded")
    from timbral.stack.up import up as run_up

    raise typer.Exit(
        run_up(concurrency=concurrency, api_port=api_port, flower_port=flower_port, open_browser=open_browser)
    )


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; API_HOST if not given.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; API_PORT if not given.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; API_WORKERS if not given.")] = None,
) -> None:
    """Run the HTTP API, for apps in any language.

    $ timbral serve --host 127.0.0.1 --port 8000
    """
    require("timbral serve", "api")
    from timbral.api.serve import serve as run_serve

    run_serve(host=host, port=port, workers=workers)
