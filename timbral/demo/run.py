"""The demo: a server, a worker, and the three tasks through ``producers``, from nothing to a user's list."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

import producers
from timbral.config.cores import available_cores
from timbral.config.settings import public_address
from timbral.data.dataset_file import DatasetFile
from timbral.data.interactions import Interactions
from timbral.data.read_options import ReadOptions
from timbral.demo.data_source import DemoData, own_history, recognise
from timbral.demo.demo_server import demo_server
from timbral.demo.new_plays import play_something_new
from timbral.demo.report import print_keys, print_quality, print_users
from timbral.errors import ParameterError
from timbral.history.importing import import_plays
from timbral.history.table import HistoryTable
from timbral.redis_server.client import connect
from timbral.stack.one_worker import one_worker
from timbral.stack.signals import signals_interrupt
from timbral.utils.data_loader import DataLoader

__all__ = ["DemoOptions", "run_demo"]

WAIT_S = 1800.0
PLAIN_WIDTH = 100


@dataclass(frozen=True)
class DemoOptions:
    """What the command line may say; None where the demo decides. ``read``: arguments of ``train_model`` about the
    data."""

    data: Path | None = None
    names: Path | None = None
    read: dict[str, Any] = field(default_factory=dict)
    n_users: int = 3
    n_components: int | None = None
    random_state: int = 7


def run_demo(options: DemoOptions, console: Console | None = None) -> None:
    """Run the main job and show it; leaves no process and no file behind, also on Ctrl-C and SIGTERM.

    Raises:
        TimbralError: the data, the server or a task is not as it should be; says what.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH  # no terminal to ask: a pipe or a CI log
    started = time.monotonic()
    with signals_interrupt(), tempfile.TemporaryDirectory(prefix="timbral-demo-") as folder:
        directory = Path(folder)
        data = _data(options, directory)
        console.print(f"[bold]data[/]    {data.description}")
        url = os.environ.get("REDIS_URL") or None
        with demo_server(url, directory) as url:
            console.print(
                f"[bold]server[/]  "
                f"{public_address(url)}{'' if os.environ.get('REDIS_URL') else ', private, just started'}"
            )
            concurrency = max(1, min(4, available_cores()))
            environment = {
                "DATA_DIR": str(data.path.parent.resolve()),
                "MODEL_DIR": str(directory / "models"),
                "HISTORY_URI": str(directory / "history"),
            }
            with one_worker(url, directory / "worker.log", environment, concurrency=concurrency):
                console.print(f"[bold]worker[/]  celery -A workers.app worker, {concurrency} processes")
                producers.connect(redis_url=url)
                try:
                    _main_job(console, url, data, options, directory)
                finally:
                    producers.close()
    console.print(
        f"\n[dim]Done in {time.monotonic() - started:.0f} s; the server and the worker are gone, nothing was left "
        f"behind.[/]"
    )


def _data(options: DemoOptions, directory: Path) -> DemoData:
    if options.data is None:
        if options.names is not None:
            raise ParameterError("--names goes with --data: what is made up here has names of its own")
        return own_history(directory, options.random_state)
    return recognise(options.data, names_path=options.names, **options.read)


def _main_job(console: Console, url: str, data: DemoData, options: DemoOptions, directory: Path) -> None:
    n_rows = _import(data, directory)
    console.print(f"[bold]history[/] {n_rows:,} rows imported; what users play from now on is added to them\n")
    with _bar(console) as bar:
        job = producers.enqueue_train_model(n_components=options.n_components)
        trained = _follow(bar, "train_model", job)
        _follow(bar, "refresh_embeddings", producers.enqueue_refresh_embeddings())
        _follow(bar, "compute_recommendations", producers.enqueue_compute_recommendations())
    console.print(
        f"\nModel [bold]{trained['model_version']}[/]: {trained['n_users']:,} users × {trained['n_items']:,} items, "
        f"{trained['n_interactions']:,} rows, {trained['n_components']} factors, {trained['iterations']} sweeps"
    )
    print_quality(console, trained)
    plays = _plays(data)
    with connect(url, timeout_s=10, connect_timeout_s=3) as client:
        shown = print_users(console, client, data, plays, options.n_users, options.random_state)
        played = play_something_new(console, data, shown, plays.user_ids.ids(range(min(1_000, len(plays.user_ids)))))
        if played:
            _train_again(console, options, played)
        print_keys(console, client, shown)


def _import(data: DemoData, directory: Path) -> int:
    columns = data.read.get("columns")
    options = ReadOptions(**{**data.read, "columns": None if columns is None else tuple(columns)})
    return import_plays(HistoryTable(directory / "history"), DatasetFile.of(data.path), options).rows


def _train_again(console: Console, options: DemoOptions, played: list[int | str]) -> None:
    console.print()
    with _bar(console) as bar:
        job = producers.enqueue_train_model(n_components=options.n_components, promote="always")
        trained = _follow(bar, "train_model, again", job)
    console.print(
        f"\nModel [bold]{trained['model_version']}[/] has learnt from the {len(played)} plays too: it was trained on "
        f"the history, which has {trained['n_interactions']:,} entries now. The gate: {trained['reason']}\n"
    )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"), BarColumn(32), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[text]}[/]"),
        console=console,
    )  # fmt: skip


def _follow(bar: Progress, name: str, job: producers.Job) -> dict[str, Any]:
    row = bar.add_task(name, total=None, text="waiting")

    def show(_state: str, progress: producers.Progress) -> None:
        bar.update(row, total=progress.total or None, completed=progress.done, text=progress.text)

    answer = job.wait(WAIT_S, on_progress=show)
    bar.update(row, total=1, completed=1, text=_said(name, answer))
    return answer


def _said(name: str, answer: dict[str, Any]) -> str:
    if name.startswith("train_model"):
        return f"{answer['iterations']} sweeps"
    if name == "refresh_embeddings":
        return f"{answer['users']:,} users, {answer['items']:,} items"
    return f"{answer['users_done']:,} users"


def _plays(data: DemoData) -> Interactions:
    return DataLoader().load_csr(data.path, **data.read)
